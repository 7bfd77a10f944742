#!/bin/sh
# Secrets from files: NAME_FILE names the file that holds the value of NAME. Then cogwork, with these arguments.
set -eu
for name in $(env | sed -n -E 's/^((COGWORK_[A-Z0-9_]+|OPENAI_API_KEY|ANTHROPIC_API_KEY))_FILE=.*/\1/p'); do
    file=$(printenv "${name}_FILE")
    if [ ! -r "$file" ]; then
        echo "cogwork: ${name}_FILE names $file, which cannot be read" >&2
        exit 64
    fi
    value=$(cat "$file")
    export "$name=$value"
    unset "${name}_FILE"
done
exec cogwork "$@"
