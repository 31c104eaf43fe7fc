//! Where a network runs: the processor, or a GPU in builds that have one.

pub use burn::tensor::Device;

/// Why there is no GPU.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// The build has none.
    #[error(
        "this dasl was built without GPU support; build it with `cargo build --release --features gpu`, or use --device cpu"
    )]
    NotBuilt,
    /// The machine has none.
    #[error("no GPU was found; check its driver (`vulkaninfo --summary`), or use --device cpu")]
    NotFound,
}

/// The system's best GPU.
///
/// # Errors
/// If the build or the machine has none.
#[cfg(feature = "gpu")]
pub fn gpu() -> Result<Device, GpuError> {
    use burn::tensor::{DeviceKind, DeviceType};

    if Device::enumerate(DeviceType::Wgpu).is_empty() {
        return Err(GpuError::NotFound);
    }
    #[cfg(feature = "vulkan")]
    return Ok(Device::vulkan(DeviceKind::DefaultDevice));
    #[cfg(not(feature = "vulkan"))]
    Ok(Device::wgpu(DeviceKind::DefaultDevice))
}

/// The system's best GPU.
///
/// # Errors
/// Always: this build has none.
#[cfg(not(feature = "gpu"))]
pub fn gpu() -> Result<Device, GpuError> {
    Err(GpuError::NotBuilt)
}
