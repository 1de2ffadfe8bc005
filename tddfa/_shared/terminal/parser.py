"""The parser of the command line: one spelling of each option, inputs anywhere, and errors that help."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tddfa._shared.errors import TddfaError
from tddfa._shared.terminal.printing import printable

# how each number of words looks in the usage
_USAGE = {
    argparse.OPTIONAL: "[{}]",
    argparse.ZERO_OR_MORE: "[{}]...",
    argparse.ONE_OR_MORE: "{}...",
    argparse.PARSER: "{} ...",
}


MISUSED = 2
"""Exit status of a wrong command line, as of argparse."""


class UsageError(TddfaError, ValueError):
    """The command line is wrong: options that exclude or need each other, or an impossible value."""


@contextlib.contextmanager
def as_usage_error(option: str = "") -> Iterator[None]:
    """Turn a `ValueError` about a value of the command line into a `UsageError`; `option` is named before it."""
    try:
        yield
    except ValueError as error:
        raise UsageError(f"{option}{': ' if option else ''}{error}") from error


class Parser(argparse.ArgumentParser):
    """A parser for all commands.

    - Options are defined and listed with dashes. The spelling with underscores is accepted (``--uv_size``, ``-n_pre``),
      and so are names of other programs (`add_aliases`).
    - Choices are case-insensitive.
    - Inputs (`add_inputs`) may stand before, between and after the options.
    - The usage is one line. An unknown option is reported by its own command, with the nearest valid option; so are an
      unknown command and an unknown choice.

    Parameters
    ----------
    epilog : str or callable, optional
        Text after the options. A function is called only when the help is printed. So slow imports for the text of one
        command do not delay ``tddfa --help``.
    *arguments, **options
        Of `argparse.ArgumentParser`.

    Examples
    --------
    >>> from tddfa._shared.terminal.parser import Parser
    >>> parser = Parser(prog="draw")
    >>> parser.add_inputs("-f", metavar="PHOTO", help="photos")
    >>> _ = parser.add_argument("--uv-size", type=int)
    >>> options = parser.parse_args(["a.jpg", "--uv_size", "64", "b.jpg"])
    >>> options.inputs, options.uv_size
    (['a.jpg', 'b.jpg'], 64)
    >>> parser.format_usage().strip()
    'usage: draw [OPTION]... PHOTO...'
    """

    def __init__(self, *arguments: Any, epilog: str | Callable[[], str] | None = None, **options: Any) -> None:
        # a module's docstring may be the description; a terminal does not need the marks of its literals
        options["description"] = (options.get("description") or "").replace("``", "") or None
        # an abbreviation would change its meaning with the next option that is added
        super().__init__(*arguments, **{"allow_abbrev": False, **options})
        self.late_epilog = epilog
        self._aliases: dict[str, str] = {}
        self._inputs: _Inputs | None = None
        self._many = True

    def add_inputs(self, *flags: str, metavar: str, help: str, many: bool = True, default: Sequence[str] = ()) -> None:
        """Add the inputs of the command: words anywhere, or after a flag. They are in ``options.inputs``.

        Parameters
        ----------
        *flags : str
            Names of the option that gives inputs too.
        metavar : str
            Name of an input in the help.
        help : str
            What an input is.
        many : bool
            Whether there may be several.
        default : sequence of str
            The inputs if none are given. Without a default, at least one input is required.
        """
        self._many = many
        self._inputs = self.add_argument(  # type: ignore[assignment]
            "inputs", nargs="*" if many else "?", action=_Inputs, default=default, metavar=metavar, help=help
        )
        self.add_argument(
            *flags, dest="inputs", nargs="+" if many else 1, action=_Inputs, default=default, metavar=metavar,
            help="the same",
        )  # fmt: skip

    @property
    def inputs_name(self) -> str:
        """Name of an input in the help."""
        return str(self._inputs.metavar) if self._inputs is not None else ""

    def add_aliases(self, option: str, *names: str) -> None:
        """Accept the names that another program has for an option; the help does not list them."""
        self._aliases.update(dict.fromkeys(names, option))

    def collect_inputs(self, namespace: argparse.Namespace, words: Sequence[str]) -> None:
        """Append inputs to those before."""
        assert self._inputs is not None
        self._inputs(self, namespace, words)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse all arguments; ``options.parser`` keeps the parser of the options, for errors that are found later."""
        given = list(sys.argv[1:] if args is None else args)
        end = given.index("--") if self._inputs is not None and "--" in given else len(given)
        namespace, extra = super().parse_known_args([*self._spelt(given[:end])], namespace)
        self._refuse_unknown(extra)
        if self._inputs is not None:
            self._check_inputs(namespace, [*extra, *given[end + 1 :]])
        elif extra:
            self.error(f"unexpected argument: {extra[0]}")
        if not hasattr(namespace, "parser"):
            namespace.parser = self
        return namespace, []

    def _spelt(self, arguments: Sequence[str]) -> Iterator[str]:
        """Replace other spellings of options by those that are defined."""
        for number, argument in enumerate(arguments):
            if argument == "--":
                yield from arguments[number:]
                return
            name, equals, value = argument.partition("=")
            yield self._spelling(name) + equals + value

    def _spelling(self, name: str) -> str:
        if name in self._option_string_actions or not (name.startswith("--") or (name.startswith("-") and "_" in name)):
            return name
        dashed = f"--{name.lstrip('-')}".replace("_", "-")
        dashed = self._aliases.get(dashed, dashed)
        return dashed if dashed in self._option_string_actions else name

    def _refuse_unknown(self, extra: Sequence[str]) -> None:
        unknown = next((word for word in extra if word.startswith("-") and word != "-"), None)
        if unknown is None:
            return
        name = unknown.partition("=")[0]
        options = {option: option for option in self._option_string_actions if option.startswith("--")} | self._aliases
        known = {option.lstrip("-"): shown for option, shown in options.items()}
        near = difflib.get_close_matches(name.lstrip("-").replace("_", "-"), known, n=1)
        hint = f"did you mean {known[near[0]]}?" if near else f"see {self.prog} --help"
        self.error(f"unknown option {name}; {hint}")

    def _check_inputs(self, namespace: argparse.Namespace, words: Sequence[str]) -> None:
        assert self._inputs is not None
        self.collect_inputs(namespace, words)
        if not namespace.inputs:
            self.error(f"expected {self.inputs_name}: {self._inputs.help}")
        if "" in namespace.inputs:  # an unset variable of a shell; as a path, it would be the working folder
            self.error(f"expected {self.inputs_name}, got an empty string")
        if not self._many and len(namespace.inputs) > 1:
            self.error(f"expected one {self.inputs_name}, got {' '.join(namespace.inputs)}")

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        value = super()._get_value(action, arg_string)
        # the words after a command's name go through here too
        if action.choices is None or action.nargs == argparse.PARSER or value in action.choices:
            return value
        same = [choice for choice in action.choices if str(choice).casefold() == str(value).casefold()]
        return same[0] if len(same) == 1 else value

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            choices = [str(choice) for choice in action.choices or ()]
            near = difflib.get_close_matches(str(value).lower(), choices, n=1)
            if not near and action.nargs == argparse.PARSER and Path(str(value)).exists():
                raise argparse.ArgumentError(None, f"expected a command before {value}, such as {choices[0]}") from None
            if not near:
                raise
            raise argparse.ArgumentError(action, f"{error.message}; did you mean {near[0]}?") from None

    def format_usage(self) -> str:
        """Return the usage: one line, without the options that may be left out."""
        self.usage = self._short_usage()
        return super().format_usage()

    def format_help(self) -> str:
        """Return the help, with the epilog."""
        self.usage = self._short_usage()
        self.epilog = self.late_epilog() if callable(self.late_epilog) else self.late_epilog
        return super().format_help()

    def _short_usage(self) -> str:
        words = [self.prog, "[OPTION]..."]
        for action in self._actions:
            among = "" if action.choices is None else f"{{{','.join(map(str, action.choices))}}}"
            name = str(action.metavar or among or action.dest)
            if action.option_strings:
                words += [f"{action.option_strings[-1]} {name}"] if action.required else []
            elif action is self._inputs and not action.default:
                words.append(f"{name}..." if self._many else name)
            else:
                words.append(_USAGE.get(str(action.nargs), "{}").format(name))
        return " ".join(words).replace("%", "%%")

    def error(self, message: str) -> NoReturn:
        """Print the usage and an error; exit with status 2."""
        self.exit(self.report(message))

    def report(self, message: str) -> int:
        """Print the usage and an error; return the exit status, 2."""
        self.print_usage(sys.stderr)
        sys.stderr.write(f"{self.prog}: error: {printable(' '.join(message.split()))}\n")
        return MISUSED


class _Inputs(argparse.Action):
    """Appends words to the inputs; the first ones replace the default."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        if values is self.default or values == []:
            return
        before = getattr(namespace, self.dest)
        words = [values] if isinstance(values, str) else values
        setattr(namespace, self.dest, [*(() if before is self.default else before), *words])
