//! Whether voxels are Hounsfield units.

use std::ops::RangeInclusive;

use anyhow::{Result, bail};
use dasl_volume::{CtVolume, PADDING_HU};

/// What lung and the air around a body are at most, HU.
const AIR_HU: i16 = -500;
/// What air is when nothing disturbs it, HU.
const PLAIN_AIR_HU: RangeInclusive<i16> = -1020..=-980;
/// Share of a chest's voxels that are air at the very least: half a litre of lung in a box of 50 litres.
const LEAST_SHARE: f64 = 0.01;

/// Whether a scan of a chest can have such voxels.
///
/// # Errors
/// If hardly any of them is air: values that are shifted or scaled, a map of labels.
pub fn check(ct: &CtVolume) -> Result<()> {
    let lowest = PADDING_HU + 1;
    let mut counts = [0_usize; (AIR_HU - PADDING_HU) as usize];
    let (mut low, mut high) = (i16::MAX, i16::MIN);
    for &hu in &ct.voxels {
        (low, high) = (low.min(hu), high.max(hu));
        if (lowest..=AIR_HU).contains(&hu) {
            counts[(hu - lowest) as usize] += 1;
        }
    }
    // One value that many voxels have, and that is not air's, fills what lies beyond the scan: with an
    // offset it can be any.
    let most = (lowest..=AIR_HU).zip(counts).max_by_key(|(_, count)| *count);
    let filling = most.filter(|(hu, _)| !PLAIN_AIR_HU.contains(hu)).map_or(0, |(_, count)| count);
    let air = counts.iter().sum::<usize>() - filling;
    if (air as f64) < LEAST_SHARE * ct.voxels.len() as f64 {
        bail!(
            "its values, {low} to {high}, are no chest in Hounsfield units: hardly any is air (-1000 to \
             {AIR_HU}); export it again without an offset or scale, and no label map"
        );
    }
    Ok(())
}
