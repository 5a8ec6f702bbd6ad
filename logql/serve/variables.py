"""System variables that drivers set or ask for when they connect; they change nothing that logql does."""

from __future__ import annotations

from mysql_mimic.variables import SYSTEM_VARIABLES, GlobalVariables, SessionVariables

_SETTABLE: dict[str, str | int] = {
    "auto_increment_offset": 1,
    "character_set_filesystem": "binary",
    "foreign_key_checks": 1,
    "group_concat_max_len": 1048576,
    "net_read_timeout": 28800,
    "session_track_schema": 1,
    "session_track_system_variables": "autocommit,character_set_client,character_set_connection,character_set_results",
    "session_track_state_change": 0,
    "session_track_transaction_info": "OFF",
    "sql_notes": 1,
    "sql_quote_show_create": 1,
    "sql_safe_updates": 0,
    "sql_warnings": 0,
    "tx_isolation": "READ-COMMITTED",
    "tx_read_only": 1,
    "unique_checks": 1,
}
_FIXED: dict[str, str | int] = {
    "have_query_cache": "NO",
    "have_ssl": "YES",
    "lower_case_file_system": "OFF",
    "max_connections": 500,
    "protocol_version": 10,
    "query_cache_size": 0,
    "query_cache_type": "OFF",
    "version_compile_machine": "",
    "version_compile_os": "",
}


def session_variables() -> SessionVariables:
    """The variables of one client."""
    known = {name: (type(value), value, True) for name, value in _SETTABLE.items()}
    known |= {name: (type(value), value, False) for name, value in _FIXED.items()}
    return SessionVariables(GlobalVariables({**SYSTEM_VARIABLES, **known}))
