//! Peak memory of this process, where Linux tells.

use std::fs;

/// Starts anew from what is in use now.
pub fn reset() {
    // Refused in some containers: then the peak is that of the whole process.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Largest resident set since [`reset`], in GB; nothing on other systems.
pub fn gigabytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0 / 1e9)
}
