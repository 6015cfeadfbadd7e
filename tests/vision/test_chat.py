import numpy as np
import pytest
from PIL import Image

from tests.vision.tiny_chat import WORDS, model_folder  # noqa: F401 - a fixture
from vap.vision.chat import ChatModel


def test_a_model_from_a_folder_answers_in_words(model_folder):  # noqa: F811
    chat = ChatModel.load(str(model_folder), device="cpu")
    image = Image.fromarray(np.full((8, 8, 3), 90, np.uint8))
    content = [{"type": "image", "image": image}, {"type": "text", "text": "w1 w2"}]
    answer = chat.answer(content, 5)
    assert 0 < len(answer.split()) <= 5
    assert set(answer.split()) <= set(WORDS)
    assert chat.answer(content, 5) == answer


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        ChatModel.load(str(tmp_path / "nowhere"))
