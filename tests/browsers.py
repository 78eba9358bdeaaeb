"""Shared by the tests: what a real browser drew."""


def fonts_of(tab, selector):
    """The fonts that the browser really drew the text of an element with, by number of glyphs."""
    devtools = tab.context.new_cdp_session(tab)
    devtools.send("DOM.enable")
    devtools.send("CSS.enable")
    root = devtools.send("DOM.getDocument")["root"]["nodeId"]
    node = devtools.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
    return {f["familyName"]: f["glyphCount"] for f in devtools.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]}
