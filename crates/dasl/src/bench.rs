//! How fast this machine runs the network and its kernels.

pub mod kernels;
pub mod network;

mod peak_memory;

use std::time::Instant;

/// Median seconds of at least five runs and of at least `least` seconds together.
fn median_seconds(least: f64, mut run: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < 5 || begin.elapsed().as_secs_f64() < least {
        let start = Instant::now();
        run();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
