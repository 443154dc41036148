# What people run. `just` lists it; each recipe is one line, so it can be typed without `just` as well.

# List the recipes
default:
    @just --list

# Run the gateway before an embedded provider and a demo
dev *args:
    scripts/dev.sh {{args}}

# Run every test, and say loudly what could not run here
test:
    scripts/test.sh

# Search so many seeds of each profile for a history that loses a session
simulate seeds:
    SEEDS={{seeds}} cargo test --lib simulation::seeds -- --nocapture

# Check that everything compiles, tests and benches too
check:
    cargo check --workspace --all-targets

# Format the code
fmt:
    cargo fmt --all

# Lint: clippy without a warning, formatting, house rules
lint:
    cargo fmt --all --check && cargo clippy --workspace --all-targets -- -D warnings && cargo test --test tidy

# Judge dependencies: bans, licences, sources (no network)
deny:
    cargo deny --offline check bans licenses sources

# Measure
bench *args:
    cargo bench {{args}}

# Rewrite what is generated: the schema, the tables of the docs, the expected messages
schema:
    UPDATE=1 cargo test --lib config::
