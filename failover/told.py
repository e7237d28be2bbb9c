"""The part of a report about who was told of an incident, what was opened for it, and what did not get through."""

from collections.abc import Mapping

from failover.communications import ChannelState, CommunicationsState, Stage, Word
from failover.config.communications import ChannelName

_LABELS: Mapping[ChannelName, str] = {
    ChannelName.STATUS_PAGE: "Status page",
    ChannelName.AWS_SUPPORT: "AWS Support",
    ChannelName.GOOGLE_SUPPORT: "Google Cloud Support",
    ChannelName.PAGERDUTY: "PagerDuty",
    ChannelName.EMAIL: "E-mail",
    ChannelName.WEBHOOK: "Webhook",
}

_REFERENCES: Mapping[ChannelName, str] = {
    ChannelName.STATUS_PAGE: "incident",
    ChannelName.AWS_SUPPORT: "case",
    ChannelName.GOOGLE_SUPPORT: "case",
}

_WORDS: Mapping[Word, str] = {
    Word.ASKED: "no case yet: it waits for somebody to approve it",
    Word.DECLINED: "no case: declined by {by}",
    Word.EXPIRED: "no case: nobody approved it in time",
}


def lines_of(communications: CommunicationsState) -> list[str]:
    """A sentence for each channel."""
    return [f"{_LABELS[state.name]}: {channel_line(state)}" for state in communications.channels]


def channel_line(state: ChannelState) -> str:
    """What one channel was told, under which reference, and what it was not."""
    if state.left_out:
        return f"not told: {state.left_out}."
    if state.word in _WORDS:
        return _WORDS[state.word].format(by=state.word_by) + "."
    parts = [_what_was_told(state)]
    if state.word is Word.APPROVED:
        parts.append(f"approved by {state.word_by}")
    if state.leaves_open:
        parts.append("left open: a person must close it")
    if state.trouble:
        parts.append(f"STILL BEING TRIED: {state.trouble}")
    parts += [f"NOT DELIVERED at {one.at:%H:%M:%S}: {one.why}" for one in state.missed if one.given_up]
    return "; ".join(part.rstrip(".") for part in parts) + "."


def _what_was_told(state: ChannelState) -> str:
    if not state.said:
        return "nothing yet" if state.trouble else "nothing"
    by_stage = [
        f"{stage.value} {at:%H:%M:%S}" if count == 1 else f"{stage.value} {count} times until {at:%H:%M:%S}"
        for stage in Stage
        if (count := sum(one.stage is stage for one in state.said))
        and (at := max(one.at for one in state.said if one.stage is stage))
    ]
    return ", ".join([*_reference(state), *by_stage])


def _reference(state: ChannelState) -> list[str]:
    """What the channel calls it: "incident 4711", and "case-12345" where its own id says what it is."""
    what = _REFERENCES.get(state.name)
    if what is None:
        return []
    return [state.reference if state.reference.startswith(what) else f"{what} {state.reference}".rstrip()]
