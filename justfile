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

# The network on a GPU backend, by Mesa's software device (Debian: mesa-vulkan-drivers).
check-gpu:
    cargo test --release -p dasl-net --features gpu --test gpu
    cargo clippy --release -p dasl --features gpu -- -D warnings

# A training step against PyTorch, with the packages of oracle/requirements-pytorch.txt installed.
oracle preset="tiny":
    cargo run --release -p dasl-net --example training_step -- {{preset}} target/training-step.safetensors
    python oracle/compare_training_step.py target/training-step.safetensors

# Density of Eq. (3) by streaming beside the matrix of all similarities, with the packages of
# oracle/requirements-density.txt installed.
bench-density:
    cargo build --release -p dasl-learn --example density
    python oracle/bench_density.py target/release/examples/density

# Time and memory beside PyTorch and OpenVINO, with the packages of oracle/requirements-bench.txt
# installed; on a machine that does nothing else.
bench-peers:
    cargo run --release -- bench --network --export target/bench.safetensors
    python oracle/bench_pytorch.py target/bench.safetensors

# The import of one LIDC scan beside SimpleITK, pylidc, scipy and zarr, with the packages of
# oracle/requirements-import.txt installed; on a machine that does nothing else.
bench-import series database:
    cargo build --release -p dasl
    python oracle/bench_import.py {{series}} {{database}}
