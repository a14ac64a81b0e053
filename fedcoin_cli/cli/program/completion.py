"""Completion scripts for shells, made from the commands: words that are fixed, so that no key press starts the program.

Nothing is installed and no file touched: `--show-completion` prints, the person decides where to.
"""

import inspect
import shlex
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, get_args, get_origin

from fedcoin_cli.cli.program.verbs import PROGRAM, function, load, verbs

_TOP = ("--help", "--version", "--show-completion")

_BASH = """\
_{program}() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} verb= words= place
    for ((place = 1; place < COMP_CWORD; place++)); do
        case ${{COMP_WORDS[place]}} in
            -*) ;;
            *) verb=${{COMP_WORDS[place]}}; break ;;
        esac
    done
    case $verb:$before in
{choices}    esac
    if [[ -z $words ]]; then
        case $verb in
{options}        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _{program} {program}
"""


def script(shell: str) -> str:
    """The script for "bash", "zsh" or "fish"."""
    if shell == "fish":
        return "\n".join(_fish()) + "\n"
    return _bash() if shell == "bash" else f"autoload -U +X bashcompinit && bashcompinit\n{_bash()}"


def _bash() -> str:
    choices, options = "", f'            "") words={shlex.quote(" ".join([*verbs(), *_TOP]))} ;;\n'
    for verb in verbs():
        parameters, allowed = load(verb).params, _choices(verb)
        words = [name for one in parameters for name in one.opts if name.startswith("--")]
        # A command's words, where one of its arguments is a choice: config show.
        words += [
            word
            for one in parameters
            if one.param_type_name == "argument"
            for word in allowed.get(one.name, ())
        ]
        options += f"            {verb}) words={shlex.quote(' '.join([*words, '--help']))} ;;\n"
        for one in parameters:
            if one.param_type_name == "option" and (found := allowed.get(one.name)):
                patterns = "|".join(f"{verb}:{name}" for name in one.opts)
                choices += f"        {patterns}) words={shlex.quote(' '.join(found))} ;;\n"
    return _BASH.format(program=PROGRAM, choices=choices, options=options)


def _fish() -> Iterator[str]:
    complete = f"complete -c {PROGRAM}"
    for verb, line in verbs().items():
        yield f"{complete} -n __fish_use_subcommand -a {verb} -d {shlex.quote(line)}"
    for name in _TOP:
        yield f"{complete} -n __fish_use_subcommand -l {name[2:]}"
    for verb in verbs():
        inside = f"{complete} -n '__fish_seen_subcommand_from {verb}'"
        allowed = _choices(verb)
        for one in load(verb).params:
            words = shlex.quote(" ".join(allowed.get(one.name, ())))
            if one.param_type_name == "argument":
                yield from [f"{inside} -a {words}"] if one.name in allowed else []
                continue
            names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in one.opts)
            value = "" if one.is_flag or one.count else f" -x -a {words}" if one.name in allowed else " -r"
            yield f"{inside} {names}{value} -d {shlex.quote(one.help or '')}"


def _choices(verb: str) -> dict[str, list[str]]:
    """The words that a command's parameters may be, by name; those that may be anything are left out."""
    found = {}
    for name, parameter in inspect.signature(function(verb), eval_str=True).parameters.items():
        kind = get_args(parameter.annotation)[0] if get_origin(parameter.annotation) is Annotated else None
        kinds = [one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, StrEnum)]
        if kinds:
            found[name] = [word.value for word in kinds[0]]
    return found
