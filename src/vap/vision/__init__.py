"""Ask vision-language models about images and videos, here or by HTTP."""
