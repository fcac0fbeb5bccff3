"""Options of trainings: their defaults, their old spellings, numbers that cannot be, and exit statuses."""

import pytest

from anitalker.config import InputError
from scripts.training.recipe import Recipe, add_dtype, add_features_dir, command, take_recipe, training_parser

RECIPE = Recipe(steps=7, lr=0.5)


def options(*words):
    parser = training_parser("A training.", RECIPE, out="runs/x")
    add_dtype(parser)
    add_features_dir(parser)
    return parser.parse_args(words)


def test_a_recipe_has_its_own_values_unless_others_are_given():
    assert take_recipe(options(), RECIPE) == RECIPE
    given = options("--steps", "9", "--save-every", "1.5")
    assert take_recipe(given, RECIPE) == Recipe(steps=9, lr=0.5, save_every=1.5)
    assert "steps" not in vars(given)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["--run", "y"], ["--out", "y"]),
        (["--rate", "0.1"], ["--lr", "0.1"]),
        (["--validate-every", "3"], ["--score", "3"]),
        (["--bf16"], ["--dtype", "bfloat16"]),
        (["--no-bf16"], ["--dtype", "float32"]),
        (["--features", "z"], ["--features-dir", "z"]),
    ],
)
def test_old_spellings_mean_the_new_ones_and_are_not_shown(old, new, capsys):
    assert options(*old) == options(*new)
    with pytest.raises(SystemExit):
        options("--help")
    shown = capsys.readouterr().out
    assert new[0] in shown and f"{old[0]} " not in shown


def test_numbers_that_cannot_be():
    with pytest.raises(InputError, match="batch is 0; allowed is 1 or more"):
        take_recipe(options("--batch", "0"), RECIPE)


def test_a_command_says_what_was_wrong_in_one_line(capsys):
    @command
    def main(arguments=None):
        if arguments:
            raise InputError("it is wrong")

    assert main() == 0 and main(["x"]) == 2
    assert capsys.readouterr().err == "error: it is wrong\n"
