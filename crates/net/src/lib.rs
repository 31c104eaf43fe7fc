//! Nodule R-CNN (Wang et al., MICCAI 2018) on Burn: blocks, anchors, losses, training, tiled
//! inference. Tensors are channels-last, [n, z, y, x, c], end to end.

pub mod anchor;
pub mod backbone;
pub mod config;
pub mod device;
pub mod infer;
pub mod instance;
pub mod intensity;
pub mod layer;
pub mod loss;
mod mirror;
pub mod model;
pub mod onnx;
pub mod ops;
pub mod optimizer;
pub mod patch;
pub mod patch_pass;
pub mod sample;
pub mod trainer;
pub mod weights;

pub use device::Device;
