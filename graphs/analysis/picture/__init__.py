"""Pictures of a workflow: text for terminals, Mermaid for documents, SVG for browsers; nothing leaves the machine."""

from graphs.analysis.picture.mermaid import mermaid
from graphs.analysis.picture.scene import Scene, scene
from graphs.analysis.picture.svg import embedded, svg
from graphs.analysis.picture.text import outline, picture

__all__ = ["Scene", "embedded", "mermaid", "outline", "picture", "scene", "svg"]
