"""
Which names do the lines of a license server's JSON log have, as `event`?

Programs rely on them, so a name stays once it is given, and every one stands in docs/licserver.md.
"""

from typing import Final

LOGGED: Final = {
    "active": "It has the name now: `name`, `server_name`, `epoch`, `reason`.",
    "blocked": "The takeover limit is spent: no new seats.",
    "cannot_start": "It does not come to run; the message says why.",
    "clients_refused": "It can accept no more connections for want of descriptors or memory.",
    "confirmed": "It confirms its claim again, after `seconds`.",
    "debug_log_failed": "Lines of the debug log cannot be written.",
    "debug_log_restored": "They are written again.",
    "deposed": "It lost the name, or may have: `reason`.",
    "fault": "A fault of its own, with its traceback; everything else goes on.",
    "handed_back": "The primary `name` is back and gets the name.",
    "header_refused": "A connection was reset that did not begin with the PROXY header it must have.",
    "holder_silent": "`holder` has the name and does not answer; it is made sure that it is gone.",
    "isolated": "It could not confirm its claim for `ttl`, and says so to its clients.",
    "journal_failed": "The journal could not be read or written: `problem`.",
    "journal_waits": "The journal is held up by another process; the message says by which.",
    "license_differs": "The own license file is not what is in force, and why.",
    "license_in_force": "Another license text is in force: `digest`.",
    "license_refused": "The own license file is not used, and why.",
    "name_not_taken": "The name was free and was not taken: `reason` or `problem`.",
    "note": "A line without a name of its own.",
    "primary_answers": "The primary `name` answers.",
    "primary_silent": "The primary `name` does not answer any more.",
    "registered": "`name` at `address` is the redundant server now.",
    "reload_refused": "licserver.yaml was not taken, the old configuration goes on; the message says why.",
    "reloaded": "licserver.yaml was read again: `changes`.",
    "renewal_refused": "A renewed certificate or token cannot be used, the old one goes on: `what`, `problem`.",
    "renewed": "A renewed certificate or token is in use: `what`.",
    "stand_down_asked": "An operator asked it to give the name up: `reason`.",
    "started": "It serves or stands by: `address`, `name`, `server_name`, `role`.",
    "started_twice": "Another process runs under the same name.",
    "state_not_saved": "The journal and epoch it has seen could not be written: `problem`.",
    "stood_down": "It gave the name up as planned: `reason`.",
    "stop_asked": "An operator asked it to stop.",
    "takeover_hours": "A takeover under the limit has begun, or 24, 8 or 1 hours of it are left.",
    "takeover_restored": "The takeover limit is whole again.",
    "tls_refused": "A TLS handshake with a client failed.",
    "unblocked": "An activation key added hours.",
    "unconfirmed": "A confirmation of its claim failed: `problem`.",
    "unregistered": "`name` is not the redundant server any more.",
}
