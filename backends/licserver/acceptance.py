"""How does a server go on from a journal that was restored from a copy, when an operator says so?"""

from licserver.config import LicserverConfig
from licserver.errors import LicserverError
from licserver.journals import accept_copy, open_journal, raise_epoch
from licserver.state import SeenState
from lsproxy.errors import LsproxyError
from lsproxy.net.reactor import BoottimeReactor


async def accept_journal(config: LicserverConfig, reactor: BoottimeReactor) -> list[str]:
    """Go on from the journal as it is, whatever this server has seen before. What is wrong with it, a sentence each."""
    try:
        await accept_copy(config, reactor)
        journal = await open_journal(config, reactor)
        epoch = (await journal.claim()).epoch
        await journal.close()
        seen = _epoch_seen(config, journal.journal_id)
        if epoch < seen:
            await raise_epoch(config, reactor, seen)
        SeenState.accept(config.state, config.server_name, journal.journal_id, max(epoch, seen))
    except (LicserverError, LsproxyError) as problem:
        return [str(problem)]
    return []


def _epoch_seen(config: LicserverConfig, journal_id: str) -> int:
    try:
        return SeenState(config.state, config.server_name).epoch_of(journal_id)
    except LicserverError:
        return 0  # a damaged state file knows nothing; accepting writes a new one
