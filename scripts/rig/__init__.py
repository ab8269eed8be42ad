"""What the demo, the tutorial test and the benches share: a server to start and kill, a mail server, a list of checks.

Standard library only, except `mail_server`, which needs aiosmtpd (scripts/requirements.txt).
"""
