//! What a phantom looks like and how large it is.

use crate::error::PhantomError;
use serde::{Deserialize, Serialize};

/// Settings of a phantom scan. The default is the small chest of the demo.
///
/// ```
/// let config = dasl_phantom::PhantomConfig { nodules: 6, ..Default::default() };
/// assert!(config.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PhantomConfig {
    /// Voxels along [z, y, x].
    pub shape: [usize; 3],
    /// Distance of neighbouring voxel centres along [z, y, x], mm.
    pub spacing_mm: [f64; 3],
    /// Size of the chest against an adult's (1 needs a field of view of 360 x 260 x 240 mm).
    /// Nodules keep their real sizes.
    pub scale: f64,
    /// Nodules of 3 mm and more; fewer are made where the lungs have no room for more.
    pub nodules: usize,
    /// Least and greatest diameter of those nodules, mm; small ones are more frequent.
    pub diameter_mm: [f64; 2],
    /// Nodules below 3 mm, which readers mark with one point.
    pub small_nodules: usize,
    /// Marks of readers on things that are no nodules.
    pub non_nodules: usize,
    /// Standard deviation of the image noise, HU.
    pub noise_hu: f64,
}

impl Default for PhantomConfig {
    fn default() -> Self {
        Self {
            shape: [80, 164, 226],
            spacing_mm: [1.5, 0.8, 0.8],
            scale: 0.5,
            nodules: 4,
            diameter_mm: [5.0, 22.0],
            small_nodules: 1,
            non_nodules: 2,
            noise_hu: 20.0,
        }
    }
}

impl PhantomConfig {
    /// Tells whether a scan can be made of these settings.
    ///
    /// # Errors
    /// [`PhantomError::Config`] if a size is zero, not finite or too large for DICOM.
    pub fn check(&self) -> Result<(), PhantomError> {
        let positive = |name: &str, values: &[f64]| {
            if values.iter().all(|v| v.is_finite() && *v > 0.0) {
                Ok(())
            } else {
                Err(PhantomError::Config(format!("{name} must be above 0, but is {values:?}")))
            }
        };
        positive("spacing_mm", &self.spacing_mm)?;
        positive("scale", &[self.scale])?;
        positive("diameter_mm", &self.diameter_mm)?;
        if !(self.noise_hu.is_finite() && self.noise_hu >= 0.0) {
            let message = format!("noise_hu must be 0 or more, but is {}", self.noise_hu);
            return Err(PhantomError::Config(message));
        }
        if self.diameter_mm[0] < 3.0 || self.diameter_mm[1] < self.diameter_mm[0] {
            let message = format!(
                "diameter_mm must be [least, greatest], the least 3 or more, but is {:?}",
                self.diameter_mm
            );
            return Err(PhantomError::Config(message));
        }
        if self.shape.iter().any(|&n| n < 2 || n > usize::from(u16::MAX)) {
            let message = format!("shape must be 2 to 65535 along each axis: {:?}", self.shape);
            return Err(PhantomError::Config(message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_be_made() {
        let good = PhantomConfig::default();
        assert!(good.check().is_ok());
        let bad = [
            PhantomConfig { scale: 0.0, ..good.clone() },
            PhantomConfig { spacing_mm: [1.0, f64::NAN, 1.0], ..good.clone() },
            PhantomConfig { noise_hu: -1.0, ..good.clone() },
            PhantomConfig { diameter_mm: [2.0, 9.0], ..good.clone() },
            PhantomConfig { diameter_mm: [9.0, 5.0], ..good.clone() },
            PhantomConfig { shape: [80, 0, 200], ..good.clone() },
            PhantomConfig { shape: [80, 70_000, 200], ..good },
        ];
        for config in bad {
            assert!(config.check().is_err(), "{config:?}");
        }
    }
}
