"""What lives as long as a gateway process; lifespan.py fills it, handlers ask for its fields by name."""

from msgspec import Struct
from redis.asyncio import Redis

from gateway.accounts.own_account import OwnAccount
from gateway.accounts.registration import Registration
from gateway.accounts.sessions import Sessions
from gateway.admission.open_streams import OpenStreams
from gateway.admission.policy import LimitPolicy
from gateway.admission.rate_limit import RateLimiter
from gateway.api_keys.keyring import Keyring
from gateway.chat.cancel import Canceller
from gateway.chat.list_jobs import JobList
from gateway.chat.look_up import JobDesk
from gateway.chat.native_order import NativeDesk
from gateway.chat.resume import Resumption
from gateway.chat.stream_links import StreamLinks
from gateway.chat.submit import ChatDesk
from gateway.client_address import ClientAddress
from gateway.conversations.deletion import Deletion
from gateway.conversations.desk import ConversationDesk
from gateway.metrics.scrape import Scraper
from gateway.models.catalog import ModelCatalog
from gateway.principal import Authenticator
from gateway.settings import GatewaySettings
from gateway.usage.report import UsageReport
from shared.clock import Clock
from shared.database.engine import Database
from shared.revocations import Revocations


class GatewayState(Struct, frozen=True):
    """Everything that lives as long as the process."""

    settings: GatewaySettings
    clock: Clock
    redis: Redis
    database: Database
    client_address: ClientAddress
    limit_policy: LimitPolicy
    rate_limiter: RateLimiter
    open_streams: OpenStreams
    scraper: Scraper
    authenticator: Authenticator
    registration: Registration
    sessions: Sessions
    own_account: OwnAccount
    keyring: Keyring
    usage_report: UsageReport
    revocations: Revocations
    catalog: ModelCatalog
    chats: ChatDesk
    native: NativeDesk
    jobs: JobDesk
    job_list: JobList
    canceller: Canceller
    resumption: Resumption
    links: StreamLinks
    conversations: ConversationDesk
    deletion: Deletion
