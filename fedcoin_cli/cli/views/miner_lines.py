"""What miners tell, as compact lines for people: what all say is said once, progress now and then."""

import time
from collections.abc import Mapping
from typing import Any

from fedcoin_cli.application.crew.crew import News
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.application.workspace.silence import said
from fedcoin_cli.cli.views.amounts import errors_text
from fedcoin_cli.protocol.message import Errors, Silence

PROGRESS_S = 5.0


class MinerLines:
    """Turns news into lines; one object a stream, since it remembers what it has said."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._said: set[str] = set()
        self._progress_s: dict[int, float] = {}

    def line(self, news: News) -> str | None:
        """The line for one piece of news; None when it need not be said."""
        at_s = float(news.details.get("time", time.time()))
        if news.event in {"mined", "inspecting"} and not self._is_due(news.number, at_s):
            return None
        text = self._shared(news)
        if text in self._said:
            return None
        if text is None:
            text = f"miner {news.number}  {self._own(news)}"
        else:
            self._said.add(text)
        return f"{time.strftime('%H:%M:%S', time.localtime(at_s))}  {text}"

    def _is_due(self, number: int, at_s: float) -> bool:
        if at_s - self._progress_s.get(number, 0.0) < PROGRESS_S:
            return False
        self._progress_s[number] = at_s
        return True

    def _shared(self, news: News) -> str | None:
        """What all miners say alike."""
        details = news.details
        match news.event:
            case "block":
                return f"block {details['height']}  {', '.join(details['transactions'])}"
            case "task":
                state, attempt = details["state"].lower(), details["attempt"]
                return f"task {details['task'][:12]}  {state}, attempt {attempt}"
            case "counting":
                return f"task {details['task'][:12]}  is mined with {details['engine']}"
            case "inspected" if details["error"] is None:
                return f"task {details['task'][:12]}  its files are good"
            case "checked" if details["follows"] and not details["wrong"]:
                name = self._names.name(details["miner"])
                return f"task {details['task'][:12]}  the table of {name} is right"
        return None

    def _own(self, news: News) -> str:
        """What one miner says for itself."""
        details = news.details
        match news.event:
            case "started":
                return f"started  port {details['port']}, height {details['height']}"
            case "ready":
                return f"ready  {details['engine']}"
            case "stopped":
                return f"stopping  height {details['height']}"
            case "mined":
                return f"mining  {_mined(details)}"
            case "estimated":
                return "estimated  " + (
                    "exact values" if details["exact"] else f"{details['rankings']} rankings"
                )
            case "inspecting":
                done = f"{details['done']} of {details['total']} coalitions"
                return f"inspecting {done}  task {details['task'][:12]}"
            case "inspected":
                return f"refuses task {details['task'][:12]}: {details['error']}"
            case "checked":
                return f"found the table of {self._names.name(details['miner'])} wrong"
            case "votes lost":
                return f"{said(Silence.VOTES_LOST)}; {details['hint']}"
            case "restarted":
                return f"fell ({details['how']}), is started again in {details['pause_s']:.0f} s"
            case "ended":
                return _ended(details)
        rest = ", ".join(f"{key} {value}" for key, value in details.items() if key != "time")
        return f"{news.event}  {rest}".rstrip()


def _mined(details: Mapping[str, Any]) -> str:
    evaluated, total, errors = details["evaluated"], details["total"], details["errors"]
    done = f"{evaluated} of {total} coalitions" if total else f"{details['rankings']} rankings"
    return done if errors is None else f"{done}, {errors_text(Errors(**errors))}"


def _ended(details: Mapping[str, Any]) -> str:
    code = details["code"]
    if details["clean"]:
        return "stopped"
    return "ended" + ("" if code is None else f", signal {-code}" if code < 0 else f", exit code {code}")
