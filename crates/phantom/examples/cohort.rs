//! Writes a small cohort: `cargo run -p dasl-phantom --example cohort -- FOLDER SCANS SEED`.

use dasl_phantom::{PhantomConfig, cohort};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("name a folder")?;
    let scans = arguments.next().map_or(Ok(2), |n| n.parse())?;
    let seed = arguments.next().map_or(Ok(1), |n| n.parse())?;
    for patient in cohort(&PhantomConfig::default(), seed, scans, Path::new(&folder))? {
        println!("{folder}/{patient}");
    }
    Ok(())
}
