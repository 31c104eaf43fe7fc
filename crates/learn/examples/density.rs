//! Time and memory of Eq. (3)'s density over a made-up pool, by the engine's own two passes over its
//! scratch file, and then over samples that lie in memory:
//!
//!     cargo run --release -p dasl-learn --example density -- [SAMPLES] [EDGE] [SCRATCH-FOLDER]
//!
//! 20,000 samples of 32^3 take 2.6 GB each time. Prints JSON. `oracle/bench_density.py` does the same
//! by the D x D matrix, on the same numbers.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use dasl_learn::descriptor::Descriptors;

/// Sample `index` of the pool: an output volume with a soft ball in it, as a network gives.
/// Repeated in `oracle/bench_density.py`.
fn sample(index: usize, edge: usize, volume: &mut [f32]) {
    let part = |factor: usize, of: usize| ((index * factor) % of) as f32 / of as f32;
    let radius = edge as f32 * (0.1 + 0.3 * part(7919, 1009));
    let middle = edge as f32 / 2.0;
    let center = [part(104_729, 499), part(1_299_709, 503), part(15_485_863, 509)]
        .map(|shift| middle + 6.0 * (shift - 0.5));
    let squares =
        center.map(|c| (0..edge).map(|i| (i as f32 - c) * (i as f32 - c)).collect::<Vec<f32>>());
    let [z, y, x] = &squares;
    let inside = radius * radius;
    let mut voxels = volume.iter_mut();
    for z in z {
        for y in y {
            for (x, voxel) in x.iter().zip(&mut voxels) {
                *voxel = inside / (inside + (z + y + x));
            }
        }
    }
}

/// Largest resident set of this process, GB, where Linux tells.
fn peak_gb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0 / 1e9)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let samples: usize = arguments.next().map_or(Ok(20_000), |n| n.parse())?;
    let edge: usize = arguments.next().map_or(Ok(32), |n| n.parse())?;
    let scratch = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let length = edge.pow(3);
    let mut volume = vec![0.0; length];

    let mut store = Descriptors::new(samples, length, 256 << 20, &scratch)?;
    // The first pass is taken while the samples are stored.
    let mut storing = 0.0;
    for index in 0..samples {
        sample(index, edge, &mut volume);
        let begin = Instant::now();
        store.put(index, &volume)?;
        storing += begin.elapsed().as_secs_f64();
    }
    let begin = Instant::now();
    let densities = store.densities()?;
    let second_pass = begin.elapsed().as_secs_f64();
    let some: Vec<f64> = densities.iter().step_by((samples / 5).max(1)).copied().collect();
    let peak_gb = peak_gb();
    drop(store);

    // Both passes alone, over samples that lie in memory. None is added up while it is stored, as
    // they come in the wrong order.
    let mut store = Descriptors::new(samples, length, u64::MAX, &scratch)?;
    for index in (0..samples).rev() {
        sample(index, edge, &mut volume);
        store.put(index, &volume)?;
    }
    let begin = Instant::now();
    assert_eq!(store.densities()?, densities);
    let in_memory = begin.elapsed().as_secs_f64();
    println!(
        "{}",
        serde_json::json!({
            "samples": samples, "length": length, "storing_s": storing, "second_pass_s": second_pass,
            "peak_gb": peak_gb, "in_memory_s": in_memory,
            "mean": densities.iter().sum::<f64>() / samples as f64, "some": some,
        })
    );
    Ok(())
}
