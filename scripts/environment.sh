# The private environment that scripts/demo, scripts/test and scripts/check_wheel share. Sourced by them, never run.
#
#   prepare_environment [EXTRAS]   sets $venv; installs only when something that matters has changed
#   find_python                    sets $python to a Python that is new enough
#
# CONNECTOMICS_VENV    where the environment lives (default: .venv in the checkout)
# CONNECTOMICS_PYTHON  the Python to make it with (default: the first one found that is new enough)

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
constraints="$root/scripts/constraints.txt"
venv="${CONNECTOMICS_VENV:-$root/.venv}"
[[ "$venv" == /* ]] || venv="$PWD/$venv"

# Settings of the caller's that would lead an install, or an import, out of the private environment.
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX PIP_USER PIP_REQUIRE_VIRTUALENV
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '%s\n' "$@" >&2; } # one line an argument
stop() { say "$@"; exit 2; }

find_python() {
    local candidate found tried="" candidates=(python3 python3.11 python3.12 python3.13 python3.14 python)
    [[ -z "${CONNECTOMICS_PYTHON:-}" ]] || candidates=("$CONNECTOMICS_PYTHON")
    for candidate in "${candidates[@]}"; do
        found="$("$candidate" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" || continue
        if [[ "$found" =~ ^3\.([0-9]+)$ ]] && ((BASH_REMATCH[1] >= 11)); then
            python="$candidate"
            return
        fi
        tried+=" $candidate is $found,"
    done
    tried="${tried%,}"
    stop "Python 3.11 or newer is needed. Found:${tried:- no Python (tried ${candidates[*]})}." \
        "Install one, or name one: CONNECTOMICS_PYTHON=/path/to/python3.11 $0"
}

make_environment() { # FOLDER
    local problem
    # A folder that holds something else is never emptied; an environment that is half made is.
    if [[ -d "$1" && ! -f "$1/pyvenv.cfg" && "$1" != "$root/.venv" && -n "$(ls -A -- "$1")" ]]; then
        stop "$1 has files in it and is no Python environment." \
            "Name another place in CONNECTOMICS_VENV, or empty this one."
    fi
    find_python
    say "Making a private Python environment in $1 ..."
    if ! problem="$("$python" -m venv --clear -- "$1" 2>&1)"; then
        say "$problem"
        stop "$python could not make an environment in $1." \
            "If it lacks venv or ensurepip, install them (Debian, Ubuntu: apt install python3-venv) and run this again."
    fi
}

environment_works() { "$venv/bin/python" -c 'import pip' >/dev/null 2>&1; }

# What the installed environment depends on, as one hash: metadata, versions, the checkout's place, Python itself.
environment_hash() {
    "$venv/bin/python" -I -c '
import hashlib, sys
digest = hashlib.sha256("\0".join([sys.version, *sys.argv[1:]]).encode())
for path in sys.argv[2:]:
    digest.update(open(path, "rb").read())
print(digest.hexdigest())' "$root" "$root/pyproject.toml" "$constraints"
}

show_progress() { # LOG: one line, kept up to date, while pip works
    local started=$SECONDS
    while sleep 1 && kill -0 "$$" 2>/dev/null; do # ends with the script, however that ends
        printf '\r\033[K  %3d s  %.60s' "$((SECONDS - started))" \
            "$(grep -E '^(Collecting|Installing|Building)' "$1" 2>/dev/null | tail -n 1)" >&2
    done
}

install_project() { # EXTRAS LOG
    local ticker="" status=0
    if [[ -t 2 ]]; then
        show_progress "$2" &
        ticker=$!
    fi
    "$venv/bin/python" -m pip install --no-input --progress-bar off \
        -c "$constraints" -e "$root${1:+[$1]}" >"$2" 2>&1 &&
        "$venv/bin/python" -m pip check >>"$2" 2>&1 || status=$?
    if [[ -n "$ticker" ]]; then
        kill "$ticker" 2>/dev/null
        wait "$ticker" 2>/dev/null
        printf '\r\033[K' >&2
    fi
    return "$status"
}

# One set-up at a time in this checkout, where the system has flock.
lock_environment() {
    if command -v flock >/dev/null; then
        exec 9<"$root/pyproject.toml"
        flock -n 9 || { say "Waiting for another set-up of this checkout to end ..." && flock 9; }
    fi
}

install_or_stop() { # EXTRAS LOG
    # An environment whose first install never ended may be made again; one that has worked is never thrown away,
    # since the cause may be no more than a network that is down.
    local file half_made=""
    [[ ! -f "$2" ]] || half_made=yes
    for file in "$venv"/connectomics-installed*; do
        [[ ! -e "$file" ]] || { half_made="" && : >"$file"; } # nothing here counts as installed until this ends well
    done
    install_project "$1" "$2" && return
    if [[ -n "$half_made" ]]; then
        say "That failed in an environment that was half made, so it is made again."
        make_environment "$venv"
        install_project "$1" "$2" && return
    fi
    tail -n 20 -- "$2" >&2
    stop "pip could not install the packages: see above, and all of it in $2" \
        "If the environment itself is damaged, remove it and run this again: rm -r '$venv'"
}

prepare_environment() { # [EXTRAS]
    local extras="${1:-}" stamp want started=$SECONDS
    trap 'say "Interrupted. Run this again to go on."; exit 130' INT
    lock_environment
    environment_works || make_environment "$venv"
    want="$(environment_hash)" || stop "Cannot read pyproject.toml or scripts/constraints.txt in $root."
    stamp="$venv/connectomics-installed${extras:+-$extras}"
    if [[ "$(cat -- "$stamp" 2>/dev/null)" != "$want" ]]; then
        say "Installing the packages of scripts/constraints.txt (the first time: about 2 GB, some minutes) ..."
        install_or_stop "$extras" "$venv/connectomics-install.log"
        # The plain install is a part of every other, so it is done too.
        printf '%s\n' "$want" | tee -- "$stamp" >"$venv/connectomics-installed"
        say "Installed in $((SECONDS - started)) s."
    fi
    exec 9<&-
    trap - INT
}
