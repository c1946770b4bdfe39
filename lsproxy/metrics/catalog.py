"""Which metrics does lsproxy have? The names `flexlm_*` are those that dashboards for FlexNet draw already."""

from typing import Final

from lsproxy.metrics.page import Named

_POOL: Final = ("pool",)
_BACKEND: Final = ("pool", "backend")
_FEATURE: Final = ("pool", "feature")
_APP: Final = ("app", "name", "type")

CATALOG: Final = (
    Named("lsproxy_build_info", "gauge", "Always 1; the release of lsproxy that runs.", ("version",)),
    Named("lsproxy_pool_served", "gauge", "Whether clients of the pool are sent to a server.", _POOL),
    Named("lsproxy_pool_serving", "gauge", "1 for the backend that clients are sent to, 0 for others.", _BACKEND),
    Named("lsproxy_pool_unserved_seconds_total", "counter", "How long nobody served, since lsproxy's start.", _POOL),
    Named("lsproxy_pool_clients", "gauge", "Clients that are connected (sessions, or relayed connections).", _POOL),
    Named("lsproxy_pool_waiting", "gauge", "Connected clients that wait for a server.", _POOL),
    Named("lsproxy_pool_standbys", "gauge", "Backends that could take over now from the one that serves.", _POOL),
    Named("lsproxy_pool_conflicts", "gauge", "Reasons not to trust who claims the pool's name.", _POOL),
    Named("lsproxy_pool_state_saved", "gauge", "Whether a restart of lsproxy would know what was decided last.", _POOL),
    Named("lsproxy_pool_epoch", "gauge", "The highest epoch seen of the journal that is followed.", _POOL),
    Named(
        "lsproxy_switch_seconds",
        "histogram",
        "How long nobody served while another backend took over: a failover after a loss, else a switchover.",
        ("pool", "kind"),
    ),
    Named(
        "lsproxy_denials_total",
        "counter",
        "Checkouts refused, by the code of the refusal; no_backend are clients that waited for a server in vain.",
        ("pool", "reason"),
    ),
    Named("lsproxy_backend_up", "gauge", "Whether the backend passes its checks.", _BACKEND),
    Named("lsproxy_backend_admin", "gauge", "1 for what operators said of it.", (*_BACKEND, "state")),
    Named("lsproxy_backend_role", "gauge", "1 for what the license server says it is.", (*_BACKEND, "role")),
    Named(
        "lsproxy_backend_binding",
        "gauge",
        "1 for how the license file binds to the backend's host.",
        (*_BACKEND, "binding"),
    ),
    Named("lsproxy_backend_epoch", "gauge", "The epoch that the license server says it knows.", _BACKEND),
    Named("lsproxy_backend_connections", "gauge", "Clients of the pool that are connected to it.", _BACKEND),
    Named("lsproxy_backend_sessions", "gauge", "Sessions that the license server says it has.", _BACKEND),
    Named("lsproxy_backend_seats", "gauge", "Seats in use by its own word.", _BACKEND),
    Named(
        "lsproxy_backend_replay_lag_slots",
        "gauge",
        "Slots of the journal that this license server has not replayed and another one has.",
        _BACKEND,
    ),
    Named(
        "lsproxy_backend_takeover_remaining_seconds",
        "gauge",
        "How much longer it may serve in its primary's place; only where that is limited.",
        _BACKEND,
    ),
    Named("lsproxy_probe_seconds", "histogram", "How long passed checks took.", _BACKEND),
    Named("lsproxy_listener_connections", "gauge", "Connections that are open.", ("listener",)),
    Named("lsproxy_listener_accepted_total", "counter", "Connections that came.", ("listener",)),
    Named(
        "lsproxy_listener_refused_total",
        "counter",
        "Connections not let in, by the key that says so, or for want of descriptors.",
        ("listener", "reason"),
    ),
    Named(
        "lsproxy_listener_ended_total",
        "counter",
        "Connections that ended, by who or what ended them first.",
        ("listener", "ended"),
    ),
    Named("lsproxy_seats_issued", "gauge", "Seats that the license grants now.", _FEATURE),
    Named("lsproxy_seats_in_use", "gauge", "Seats that are held.", _FEATURE),
    Named("lsproxy_seats_reserved", "gauge", "Seats kept for somebody who does not hold them.", _FEATURE),
    Named("lsproxy_seats_queued", "gauge", "Checkouts that wait for a seat.", _FEATURE),
    Named(
        "lsproxy_license_expiry_timestamp_seconds",
        "gauge",
        "When the feature expires, seconds since 1970; +Inf if it is permanent.",
        _FEATURE,
    ),
    Named("lsproxy_events_total", "counter", "Events, by their name.", ("pool", "event")),
    Named("lsproxy_history_bytes", "gauge", "How large the history was after its last sample."),
    Named("lsproxy_history_lost_samples_total", "counter", "Samples that could not be kept."),
    Named(
        "flexlm_server_status",
        "gauge",
        "Whether the license server is up.",
        ("app", "fqdn", "master", "port", "version"),
    ),
    Named("flexlm_vendor_status", "gauge", "Whether the vendor's features are served.", ("app", "name", "version")),
    Named("flexlm_feature_issued", "gauge", "Licenses issued.", _APP),
    Named("flexlm_feature_used", "gauge", "Licenses in use.", _APP),
    Named(
        "flexlm_feature_used_users",
        "gauge",
        "Licenses in use by a user since a time.",
        ("app", "name", "user", "since"),
    ),
    Named(
        "flexlm_feature_expiration_seconds",
        "gauge",
        "When the feature expires, seconds since 1970; +Inf if it is permanent.",
        ("app", "name", "index", "licenses", "vendor", "version"),
    ),
)
