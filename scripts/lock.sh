#!/usr/bin/env bash
# Pin what pyproject.toml asks for, with hashes: requirements/runtime.txt for users, requirements/dev.txt for everything
# here, requirements/build.txt for the image's build, requirements/litellm.txt for the LiteLLM proxy,
# requirements/installers.txt for uv, pipx and twine, and requirements/ansible.txt for Ansible, which live in environments
# of their own. The files name no index and no address, so they work with whatever index the reader's pip is set up for.
#   usage: scripts/lock.sh [--upgrade]
set -euo pipefail
cd "$(dirname "$0")/.."

PIP_TOOLS=7.6.2
tools=.cache/lock
python=${PYTHON:-.venv/bin/python}
if [[ ! -x $tools/bin/pip-compile ]]; then
    echo "installing pip-tools $PIP_TOOLS into $tools"
    "$python" -m venv --clear "$tools"
    "$tools/bin/pip" --quiet install "pip-tools==$PIP_TOOLS"
fi

# pip-compile knows no dependency groups: write them out for it.
asked=requirements/dev.in
built_with=requirements/build.in
routed_by=requirements/litellm.in
installed_by=requirements/installers.in
played_by=requirements/ansible.in
trap 'rm -f "$asked" "$built_with" "$routed_by" "$installed_by" "$played_by"' EXIT
"$tools/bin/python" - >"$asked" <<'PYTHON'
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())
print("-c runtime.txt")
print("editables")  # what hatchling needs for an editable install without build isolation
print("\n".join(project["project"]["dependencies"] + project["dependency-groups"]["dev"]))
PYTHON

"$tools/bin/python" - >"$built_with" <<'PYTHON'
import tomllib
from pathlib import Path

print("-c dev.txt")
print("\n".join(tomllib.loads(Path("pyproject.toml").read_text())["build-system"]["requires"]))
PYTHON

echo "litellm[proxy]>=1.108" >"$routed_by" # it has weighted failover and hooks for each failed attempt; none older was tried
printf '%s\n' uv pipx twine pip >"$installed_by" # pip: pipx fetches one for itself
echo "ansible>=12" >"$played_by" # its collection community.general has the module supervisorctl

compile() {
    CUSTOM_COMPILE_COMMAND="make lock" "$tools/bin/pip-compile" --quiet --generate-hashes --allow-unsafe --strip-extras \
        --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --resolver=backtracking "${@:3}" --output-file "$2" "$1"
}
compile pyproject.toml requirements/runtime.txt "$@"
compile "$asked" requirements/dev.txt "$@"
compile "$built_with" requirements/build.txt "$@"
sed -i "s|-r $built_with|pyproject.toml (build-system)|; s|-c dev.txt|requirements/dev.txt|; s|-c requirements/dev.txt|requirements/dev.txt|" \
    requirements/build.txt
sed -i "s|-r $asked|pyproject.toml (dev)|; s|-c runtime.txt|requirements/runtime.txt|; s|-c requirements/runtime.txt|requirements/runtime.txt|" requirements/dev.txt
compile "$routed_by" requirements/litellm.txt "$@"
sed -i "s|-r $routed_by|scripts/lock.sh|" requirements/litellm.txt
compile "$installed_by" requirements/installers.txt "$@"
sed -i "s|-r $installed_by|scripts/lock.sh|" requirements/installers.txt
compile "$played_by" requirements/ansible.txt "$@"
sed -i "s|-r $played_by|scripts/lock.sh|" requirements/ansible.txt
grep -c '^[a-z].*==' requirements/*.txt | sed 's/:/: /; s/$/ packages pinned/'
