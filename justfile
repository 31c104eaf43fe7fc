# What people do here. CI runs `check`.

# Format, lints, tests, documentation.
check: format-check lint test doc

# The test command of the README.
test:
    cargo test --release --workspace

format:
    cargo fmt --all

format-check:
    cargo fmt --all --check

lint:
    cargo clippy --release --workspace --all-targets -- -D warnings

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Everything on a made-up cohort.
demo:
    cargo run --release -- demo

# A training step against PyTorch, with the packages of oracle/requirements-pytorch.txt installed.
oracle preset="tiny":
    cargo run --release -p dasl-net --example training_step -- {{preset}} target/training-step.safetensors
    python oracle/compare_training_step.py target/training-step.safetensors
