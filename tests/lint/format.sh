#!/bin/sh
# format.sh - C sources are laid out as .clang-format says. Run from the root.
find runtime drivers tests -name '*.[ch]' -exec clang-format --dry-run -Werror {} +
