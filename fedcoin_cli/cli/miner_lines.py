"""What miners tell, as compact lines for people: what all say is said once, progress now and then."""

import time
from collections.abc import Mapping
from typing import Any

from fedcoin_cli.application.crew import News

PROGRESS_S = 5.0


class MinerLines:
    """Turns news into lines; one object a stream, since it remembers what it has said."""

    def __init__(self) -> None:
        self._said: set[tuple[object, ...]] = set()
        self._progress_s: dict[int, float] = {}

    def line(self, news: News) -> str | None:
        """The line for one piece of news; None when it need not be said."""
        at_s = float(news.details.get("time", time.time()))
        if news.event == "mined" and not self._is_due(news.miner, at_s):
            return None
        shared = _SHARED.get(news.event)
        if shared is not None:
            text = shared(news.details)
            if (news.event, text) in self._said:
                return None
            self._said.add((news.event, text))
        else:
            text = f"miner {news.miner}  {_OWN.get(news.event, _plain)(news)}"
        return f"{time.strftime('%H:%M:%S', time.localtime(at_s))}  {text}"

    def _is_due(self, miner: int, at_s: float) -> bool:
        if at_s - self._progress_s.get(miner, 0.0) < PROGRESS_S:
            return False
        self._progress_s[miner] = at_s
        return True


def _block(details: Mapping[str, Any]) -> str:
    return f"block {details['height']}  {', '.join(details['transactions'])}"


def _task(details: Mapping[str, Any]) -> str:
    return f"task {details['task'][:12]}  {details['state'].lower()}, attempt {details['attempt']}"


def _mined(news: News) -> str:
    details = news.details
    rankings, evaluated, total = details["rankings"], details["evaluated"], details["total"]
    if total:
        return f"mining  {evaluated} of {total} coalitions"
    return f"mining  {rankings} rankings, {evaluated} coalitions"


def _estimated(news: News) -> str:
    return "estimated  " + (
        "exact values" if news.details["exact"] else f"{news.details['rankings']} rankings"
    )


def _inspected(news: News) -> str:
    error = news.details["error"]
    return f"task {news.details['task'][:12]} " + (f"refused: {error}" if error else "has good files")


def _checked(news: News) -> str:
    wrong = news.details["wrong"]
    good = news.details["follows"] and not wrong
    finding = (
        "is right" if good else f"is wrong in {len(wrong)} counts" if wrong else "does not give its sums"
    )
    return f"the table of {news.details['miner'][:12]} {finding}"


def _ended(news: News) -> str:
    code = news.details["code"]
    if news.details["clean"]:
        return "stopped"
    return "ended" + ("" if code is None else f", signal {-code}" if code < 0 else f", exit code {code}")


def _plain(news: News) -> str:
    details = ", ".join(f"{key} {value}" for key, value in news.details.items() if key != "time")
    return f"{news.event}  {details}".rstrip()


_SHARED = {"block": _block, "task": _task}
_OWN = {
    "started": lambda news: f"started  port {news.details['port']}, height {news.details['height']}",
    "ready": lambda news: f"ready  {news.details['engine']}",
    "stopped": lambda news: f"stopping  height {news.details['height']}",
    "mined": _mined,
    "estimated": _estimated,
    "inspected": _inspected,
    "checked": _checked,
    "ended": _ended,
}
