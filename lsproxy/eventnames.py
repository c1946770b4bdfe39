"""
Which names do the events of lsproxy have: in the event stream, in {event} of `notify`, as `event` in a JSON log?

Programs rely on them, so a name stays once it is given, and every one stands in docs/api.md. `TOLD` are in the event
stream and in the log, `LOGGED` in the log alone.
"""

from typing import Final

TOLD: Final = {
    "activated": "The commands of on_activate made a third-party backend fit for use.",
    "activation_failed": "The commands of on_activate failed.",
    "backend_barred": "A backend gets no clients, or should get none: its license file binds another host.",
    "backend_down": "A backend does not answer its checks any more.",
    "backend_state": "An operator set a backend to ready, drain or maint.",
    "backend_up": "A backend answers its checks.",
    "blocked": "The takeover limit is spent, the redundant server grants nothing more.",
    "conflict": "Two servers answer under one active name.",
    "conflict_over": "Only one server claims the name again.",
    "fenced": "The commands of on_deactivate made sure that a former backend serves no more.",
    "fencing": "They are being run.",
    "fencing_failed": "They failed: nothing is switched.",
    "hold_too_long": "heartbeat + hold is not under trust, so a waiting client may lose trust in its seats.",
    "license_differs": "The license in force at a backend is not the one in the proxy's file.",
    "license_expiring": "Lines of a license file expire in 30, 14, 7, 3 or 1 days, today, or have expired.",
    "license_installed": "An operator put a new license in force.",
    "not_fenced": "A backend that was in use when lsproxy ended is not in the configuration any more.",
    "reload_refused": "The configuration file was not taken, the old configuration goes on.",
    "reloaded": "The configuration file was read again.",
    "serving": "Clients are sent to a backend, where nobody served them before.",
    "state_not_saved": "What must survive a restart could not be written.",
    "takeover": "Another backend serves.",
    "takeover_hours": "24, 8 or 1 hours are left of the takeover limit.",
    "takeover_refused": "A backend that was asked to take over refused.",
    "unserved": "No backend can serve, for longer than hold.",
}

URGENT: Final = frozenset(
    {
        "activation_failed",
        "blocked",
        "conflict",
        "fencing_failed",
        "not_fenced",
        "reload_refused",
        "state_not_saved",
        "unserved",
    }
)
"""Somebody is to look now."""
TROUBLES: Final = URGENT | {
    "backend_barred",
    "backend_down",
    "hold_too_long",
    "license_differs",
    "license_expiring",
    "takeover",
    "takeover_hours",
    "takeover_refused",
}
"""Somebody is to look: these are warnings in the log."""

LOGGED: Final = {
    "access_log_failed": "Lines of the access log cannot be written.",
    "access_log_restored": "They are written again.",
    "admin_unusable": "tokens.yaml cannot be read, so nobody is let in by token.",
    "advice": "Something in the configuration or a license file should be looked at.",
    "audit": "Somebody changed something, was refused to, got a link, or logged in: who, role, from, what, outcome.",
    "cannot_start": "lsproxy does not come to run; the message says why.",
    "checks_stopped": "No check can be made for want of something on this machine.",
    "clients_refused": "Clients are refused: a limit of a listener, or what this machine has, is used up.",
    "fault": "A fault of lsproxy's own, with its traceback; everything else goes on.",
    "followed": "`lsproxy notify` hears the events again.",
    "guessing": "Wrong tokens came from somewhere: a line a minute at most for each source.",
    "header_refused": "A connection was reset that did not begin with the PROXY header it must have.",
    "history_damaged": "The file of the history was damaged and is set aside, a new one is begun.",
    "history_failed": "The history cannot be written or read; clients are served all the same.",
    "history_restored": "The history is kept again.",
    "not_followed": "`lsproxy notify` does not reach lsproxy, and waits for it.",
    "note": "A line without a name of its own.",
    "notify_failed": "A command of notify failed, or there were too many events for it.",
    "renewal_refused": "A file such as a certificate was changed and cannot be used: what it was goes on.",
    "renewed": "Such a file was changed and counts.",
    "started": "lsproxy runs.",
    "stop_late": "Something had not ended in its time while lsproxy stopped.",
    "stopping": "lsproxy ends.",
    "tls_refused": "A TLS handshake with a client failed.",
}
