"""The document that the browser gets: our head comes before Gradio's script; samples name this server."""

import httpx


def test_head_language_and_description(page):
    answer = httpx.get(page.url)
    text = answer.text
    assert text.index('Object.defineProperty(navigator, "language"') < text.index("window.gradio_config")
    assert "gradio.app" not in text.split("window.gradio_config")[0] and "og:title' content='AniTalker'" in text
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_addresses_of_the_samples(page):
    info = httpx.get(f"{page.url}/gradio_api/info")
    assert f"{page.url}/examples/portrait.webp" in info.text and "this-server.invalid" not in info.text
    answer = httpx.get(f"{page.url}/examples/man.webp")
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/webp"
    assert httpx.get(f"{page.url}/examples/none.webp").status_code == 404
    strange = httpx.get(f"{page.url}/gradio_api/info", headers={"host": "a'<b"})
    assert "a'<b/examples" not in strange.text
