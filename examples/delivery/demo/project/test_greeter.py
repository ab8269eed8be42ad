import unittest

from greeter import greeting


class Greeting(unittest.TestCase):
    def test_greets_by_name(self):
        self.assertEqual(greeting(" Ada "), "Hello, Ada!")

    def test_greets_strangers(self):
        self.assertEqual(greeting(""), "Hello, stranger!")
