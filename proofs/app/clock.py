"""Counts the ticks of the schedule."""

from ledger import note


def handler(event, context):
    note("clock", event["id"])
