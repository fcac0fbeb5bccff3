"""The Dockerfile as `scripts.clean_root` reads it, and what its instructions do to a root."""

import pytest

from anitalker.config import InputError
from scripts.clean_root import Root, main, parse

TEXT = """# a comment
FROM python:3.12-slim AS build
WORKDIR /source
RUN apt-get update \\
    && apt-get install it
FROM python:3.12-slim
ARG INDEX=https://example.org
ENV A=1 B="two words"
COPY --from=build /wheels /wheels
USER face
HEALTHCHECK --interval=30s \\
    CMD ["python", "-c", "1"]
CMD ["serve"]
"""


def test_stages_and_their_steps():
    build, last = parse(TEXT)
    assert (build.name, last.name) == ("build", "1")
    assert build.steps == [("WORKDIR", "/source"), ("RUN", "apt-get update && apt-get install it")]
    assert last.steps[-1] == ("CMD", '["serve"]')


def test_an_unknown_instruction_is_refused():
    with pytest.raises(InputError, match="VOLUME"):
        parse("FROM a\nVOLUME /data\n")


def test_our_dockerfile_is_understood(root):
    stages = parse((root / "Dockerfile").read_text(encoding="utf-8"))
    assert [stage.name for stage in stages] == ["build", "1"]
    names = [instruction for instruction, _ in stages[-1].steps]
    assert {"USER", "HEALTHCHECK", "ENTRYPOINT", "CMD"} <= set(names)


def test_instructions_change_the_root(tmp_path):
    build, last = Root(tmp_path / "build", [], {"PATH": "/bin"}), Root(tmp_path / "last", [], {"PATH": "/bin"})
    (tmp_path / "build/wheels").mkdir(parents=True)
    (tmp_path / "build/wheels/a.whl").write_text("x")
    for instruction, argument in parse(TEXT)[1].steps:
        last.take(instruction, argument, {"build": build}, {"INDEX": "https://mirror.example"})
    assert last.variables == {"PATH": "/bin", "INDEX": "https://mirror.example", "A": "1", "B": "two words"}
    assert (tmp_path / "last/wheels/a.whl").read_text() == "x" and last.user == "face"
    assert last.settings == {"HEALTHCHECK": ["python", "-c", "1"], "CMD": ["serve"]}


def test_a_missing_debootstrap_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert main([str(tmp_path / "roots")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "debootstrap" in line


def test_every_service_is_sealed_and_its_arguments_are_the_dockerfiles(root):
    """compose.yaml: a read-only root, no capabilities, and build arguments that the Dockerfile takes."""
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((root / "compose.yaml").read_text(encoding="utf-8"))["services"]
    steps = parse((root / "Dockerfile").read_text(encoding="utf-8"))[-1].steps
    taken = {argument.partition("=")[0] for instruction, argument in steps if instruction == "ARG"}
    assert set(services) == {"serve", "serve-cuda", "page"}
    for name, service in services.items():
        assert service["read_only"] and service["tmpfs"] == "/tmp" and service["cap_drop"] == ["ALL"], name
        build = service["build"]
        assert set(build["args"] if isinstance(build, dict) else ()) <= taken, name
    assert services["serve-cuda"]["command"][-2:] == ["--device", "cuda"]
