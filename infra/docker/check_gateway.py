"""`python check_gateway.py [port]`: ends with 0 if the gateway in this container answers `GET /health`, else with 1.

Runs every few seconds beside every gateway, hence the standard library alone.
"""

import http.client
import sys

DEFAULT_PORT = 8000
TIMEOUT_S = 3.0


def answers(port: int) -> bool:
    """Tell whether the gateway on `port` serves."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not answers(int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_PORT))
