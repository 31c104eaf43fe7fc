//! A network's weights by name, as safetensors.
//!
//! Names are the fields on the way to a tensor, joined by dots; convolution kernels are
//! [k, k, k, `c_in`, `c_out`], deconvolution kernels [`c_in`, 2, 2, 2, `c_out`].

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::model::NoduleRcnn;

/// One array: shape and values, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    /// Shape.
    pub shape: Vec<usize>,
    /// Values, last axis fastest.
    pub values: Vec<f32>,
}

/// Arrays by name.
pub type Named = BTreeMap<String, Values>;

/// What can go wrong with a weights file.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file can't be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error(
        "{path}: not a weights file of dasl ({reason}); name a folder that `dasl train` or `dasl learn` wrote"
    )]
    Format {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The weights belong to another network.
    #[error("{name}: {reason}; the weights belong to a network with another configuration")]
    Mismatch {
        /// The tensor.
        name: String,
        /// What differs.
        reason: String,
    },
}

/// All weights of a network, running statistics of its norms included.
pub fn export(model: &NoduleRcnn) -> Named {
    struct Visitor {
        path: Vec<String>,
        out: Named,
    }
    impl ModuleVisitor for Visitor {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.into());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.out.insert(self.path.join("."), to_values(param.val()));
        }
    }
    let mut visitor = Visitor { path: Vec::new(), out: Named::new() };
    // `valid` also brings the running statistics up to date.
    model.valid().visit(&mut visitor);
    visitor.out
}

/// A network with these weights in place of its own; names and shapes must agree.
///
/// # Errors
/// If a tensor is missing or has another shape.
pub fn import(model: NoduleRcnn, named: &Named) -> Result<NoduleRcnn, WeightsError> {
    struct Mapper<'a> {
        path: Vec<String>,
        named: &'a Named,
        error: Option<WeightsError>,
    }
    impl ModuleMapper for Mapper<'_> {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.into());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let name = self.path.join(".");
            let dims = param.lazy_shape().to_vec();
            let reason = match self.named.get(&name) {
                None => "is missing".to_string(),
                Some(found) if found.shape != dims => {
                    format!("is {:?}, the network wants {dims:?}", found.shape)
                }
                Some(found) => {
                    let data = TensorData::new(found.values.clone(), found.shape.clone());
                    return param.map(|old| {
                        let new = Tensor::from_data(data, &old.device());
                        if old.is_require_grad() { new.require_grad() } else { new }
                    });
                }
            };
            self.error.get_or_insert(WeightsError::Mismatch { name, reason });
            param
        }
    }
    let mut mapper = Mapper { path: Vec::new(), named, error: None };
    let model = model.map(&mut mapper);
    mapper.error.map_or(Ok(model), Err)
}

/// A tensor's values on the host.
pub fn to_values<const D: usize>(tensor: Tensor<D>) -> Values {
    let shape = tensor.dims().to_vec();
    let values = tensor.into_data().try_to_vec().expect("weights are f32");
    Values { shape, values }
}

/// Writes arrays and a few words about them to a safetensors file, atomically.
///
/// # Errors
/// If the file can't be written.
pub fn save(
    path: &Path,
    named: &Named,
    about: &BTreeMap<String, String>,
) -> Result<(), WeightsError> {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = named
        .iter()
        .map(|(name, v)| {
            let bytes = v.values.iter().flat_map(|x| x.to_le_bytes()).collect();
            (name.clone(), v.shape.clone(), bytes)
        })
        .collect();
    let format = |reason: String| WeightsError::Format { path: path.display().to_string(), reason };
    let mut views = Vec::with_capacity(bytes.len());
    for (name, shape, data) in &bytes {
        let view = TensorView::new(Dtype::F32, shape.clone(), data);
        views.push((name.as_str(), view.map_err(|e| format(e.to_string()))?));
    }
    let about = (!about.is_empty()).then(|| about.clone().into_iter().collect());
    let out = safetensors::serialize(views, about).map_err(|e| format(e.to_string()))?;
    dasl_volume::write_atomic(path, |file| file.write_all(&out))
        .map_err(|source| WeightsError::Io { path: path.display().to_string(), source })
}

/// What the name of a norm's running variance ends with.
const RUNNING_VARIANCE: &str = "running_variance";

/// Reads what [`save`] wrote.
///
/// # Errors
/// If the file can't be read or is not a safetensors file of 32-bit floats.
pub fn load(path: &Path) -> Result<(Named, BTreeMap<String, String>), WeightsError> {
    let shown = path.display().to_string();
    let bytes =
        std::fs::read(path).map_err(|source| WeightsError::Io { path: shown.clone(), source })?;
    parse(&bytes, &shown)
}

/// The arrays of a safetensors file's bytes and what it says about them; `path` names it in errors.
///
/// # Errors
/// If it is not a safetensors file of 32-bit floats, or one of these is no number, as a network's may be
/// that diverged in training.
pub fn parse(bytes: &[u8], path: &str) -> Result<(Named, BTreeMap<String, String>), WeightsError> {
    let format = |reason: String| WeightsError::Format { path: path.into(), reason };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| format(e.to_string()))?;
    let about = header.metadata().clone().unwrap_or_default().into_iter().collect();
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| format(e.to_string()))?;
    let mut named = Named::new();
    for (name, view) in tensors.tensors() {
        if view.dtype() != Dtype::F32 {
            return Err(format(format!("{name} is {:?}, not F32", view.dtype())));
        }
        let (words, _) = view.data().as_chunks::<4>();
        let values: Vec<f32> = words.iter().map(|w| f32::from_le_bytes(*w)).collect();
        let is_variance = name.ends_with(RUNNING_VARIANCE);
        if let Some(wrong) = values.iter().find(|v| !v.is_finite() || is_variance && **v < 0.0) {
            return Err(format(format!("{name} holds {wrong}: the network is broken")));
        }
        named.insert(name, Values { shape: view.shape().to_vec(), values });
    }
    Ok((named, about))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_network_is_refused_by_the_tensor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let read = |name: &str, last: f32| {
            let values = Values { shape: vec![2], values: vec![0.5, last] };
            save(&path, &Named::from([(name.to_string(), values)]), &BTreeMap::new()).unwrap();
            load(&path).map_err(|error| error.to_string())
        };
        for wrong in [f32::NAN, f32::INFINITY] {
            let error = read("stem.weight", wrong).unwrap_err();
            assert!(error.contains(&format!("stem.weight holds {wrong}")), "{error}");
        }
        assert!(read("smooth0.norm.running_variance", -0.1).unwrap_err().contains("holds -0.1"));
        for (name, sound) in [("stem.weight", -0.1), ("smooth0.norm.running_variance", 0.0)] {
            assert_eq!(read(name, sound).unwrap().0[name].values, [0.5, sound]);
        }
    }
}
