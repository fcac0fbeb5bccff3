"""One module per command, each with HELP, add(parser), run(arguments) -> facts, and say(facts) for people."""
