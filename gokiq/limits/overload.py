"""Which outcomes say that a dependency has too much to do, or is away."""

from __future__ import annotations

from collections.abc import Container
from enum import Enum

from gokiq.core import OK

#: Class names of exceptions, of the libraries that jobs use most.
OVERLOAD_ERRORS = frozenset(
    {
        "ActiveRecord::AdapterTimeout",
        "ActiveRecord::ConnectionFailed",
        "ActiveRecord::ConnectionNotEstablished",
        "ActiveRecord::ConnectionTimeoutError",
        "ActiveRecord::DatabaseConnectionError",
        "ActiveRecord::Deadlocked",
        "ActiveRecord::LockWaitTimeout",
        "ActiveRecord::QueryCanceled",
        "ActiveRecord::StatementTimeout",
        "ActiveRecord::TransactionTimeout",
        "PG::ConnectionBad",
        "PG::LockNotAvailable",
        "PG::QueryCanceled",
        "PG::TRDeadlockDetected",
        "PG::TooManyConnections",
        "PG::UnableToSend",
        "Mysql2::Error::ConnectionError",
        "Mysql2::Error::TimeoutError",
        "Trilogy::BaseConnectionError",
        "Trilogy::ConnectionError",
        "Trilogy::TimeoutError",
        "Redis::BaseConnectionError",
        "Redis::CannotConnectError",
        "Redis::TimeoutError",
        "RedisClient::CannotConnectError",
        "RedisClient::ConnectionError",
        "RedisClient::TimeoutError",
        "ConnectionPool::TimeoutError",
        "Net::OpenTimeout",
        "Net::ReadTimeout",
        "Net::WriteTimeout",
        "Timeout::Error",
        "IO::TimeoutError",
        "Errno::ECONNREFUSED",
        "Errno::ECONNRESET",
        "Errno::EHOSTUNREACH",
        "Errno::EPIPE",
        "Errno::ETIMEDOUT",
        "SocketError",
        "Socket::ResolutionError",
        "OpenSSL::SSL::SSLError",
        "Faraday::ConnectionFailed",
        "Faraday::ServerError",
        "Faraday::TimeoutError",
        "Faraday::TooManyRequestsError",
        "HTTP::ConnectionError",
        "HTTP::TimeoutError",
        "HTTPX::ConnectionError",
        "HTTPX::TimeoutError",
        "Excon::Error::Socket",
        "Excon::Error::Timeout",
        "Gokiq::JobTimeout",
    }
)


class Verdict(Enum):
    """What an outcome says about the dependency."""

    OK = "ok"
    OVERLOAD = "overload"
    IGNORED = "ignored"


def judge(status: int, error_class: str, extra: Container[str] = ()) -> Verdict:
    """An error that says nothing about load, as a bug in the job, is ignored. `extra` has more
    class names of the overload kind.
    """
    if error_class in OVERLOAD_ERRORS or error_class in extra:
        return Verdict.OVERLOAD
    return Verdict.OK if status == OK else Verdict.IGNORED
