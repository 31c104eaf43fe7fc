//! The network as ONNX graphs, for those who run it elsewhere.
//!
//! Two graphs, since what lies between them, the choice of proposals and their `RoI`s, is no tensor
//! arithmetic: the first goes from a patch to the detection output and the mask features, the second
//! from an `RoI` of the mask features to its mask. Channels come second, as ONNX has them.

use onnx_rs::ast::{
    Attribute, AttributeType, DataType, Dimension, Graph, Model, Node, OpType, OperatorSetId,
    StringStringEntry, TensorProto, TensorShape, TensorShapeDimension, TensorTypeProto, TypeProto,
    TypeValue, ValueInfo,
};

use dasl_volume::PADDING_HU;
use ndarray::Array3;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::anchor::STRIDE;
use crate::config::NetConfig;
use crate::infer::Segmenter;
use crate::intensity::WINDOW_HU;
use crate::layer::normal;
use crate::model::PER_ANCHOR;
use crate::ops::NORM_EPSILON;
use crate::weights::{Named, Values, to_values};

/// Operator set that the graphs are written for (ONNX 1.8, 2020).
const OPERATOR_SET: i64 = 13;
/// Version of the file format that goes with it.
const FORMAT: i64 = 7;

/// The bytes of both graphs.
pub struct Exported {
    /// `ct` [n, 1, z, y, x], HU, sizes a multiple of 16 -> `detection` [n, z/4, y/4, x/4, anchors, 5]
    /// (objectness logit, dz, dy, dx, log d) and `mask_features` [n, c, z, y, x].
    pub network: Vec<u8>,
    /// `mask_features` of `RoI`s [rois, c, z, y, x] -> `mask` [rois, 1, z, y, x], probabilities.
    pub mask: Vec<u8>,
}

/// Writes a network's weights, as [`crate::weights::export`] gives them, as ONNX.
///
/// # Panics
/// If the weights are not those of the configuration.
pub fn export(config: &NetConfig, weights: &Named) -> Exported {
    Exported { network: network(config, weights), mask: mask(config, weights) }
}

fn network(config: &NetConfig, weights: &Named) -> Vec<u8> {
    let mut graph = Builder::new(weights);
    let image = graph.intensities("ct");
    let stem = graph.convolve(&image, "backbone.stem");
    let stem = graph.unit(&stem, "backbone.stem2");
    let pooled = graph.max_pool(&stem);
    let d1 = graph.dense(&pooled, "backbone.dense1", config.layers[0]);
    let t1 = graph.unit(&d1, "backbone.transition1");
    let pooled = graph.max_pool(&t1);
    let d2 = graph.dense(&pooled, "backbone.dense2", config.layers[1]);
    let t2 = graph.unit(&d2, "backbone.transition2");
    let pooled = graph.max_pool(&t2);
    let d3 = graph.dense(&pooled, "backbone.dense3", config.layers[2]);
    let lateral = graph.unit(&d2, "backbone.lateral2");
    let p2 = graph.up(&d3, &lateral, "backbone.up2");
    let p2 = graph.unit(&p2, "backbone.smooth2");
    let lateral = graph.unit(&d1, "backbone.lateral1");
    let p1 = graph.up(&p2, &lateral, "backbone.up1");
    let p1 = graph.unit(&p1, "backbone.smooth1");
    let p0 = graph.up(&p1, &stem, "backbone.up0");
    let p0 = graph.unit(&p0, "backbone.smooth0");
    graph.node(OpType::Identity, &[&p0], "mask_features", Vec::new());
    let hidden = graph.unit(&p2, "detection.hidden");
    let output = graph.unit(&hidden, "detection.output");
    let anchors = config.anchors_mm.len();
    graph.rows(&output, "detection", &[0, 0, 0, 0, anchors as i64, PER_ANCHOR as i64]);
    let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
    let about = [
        ("spacing_mm", config.spacing_mm.to_string()),
        ("anchors_mm", list(&config.anchors_mm)),
        ("anchor_stride", STRIDE.to_string()),
    ];
    graph.encode(
        "nodule_rcnn",
        &[("ct", &["n", "1", "z", "y", "x"])],
        &[
            ("detection", &["n", "z4", "y4", "x4", &anchors.to_string(), &PER_ANCHOR.to_string()]),
            ("mask_features", &["n", &config.stem.to_string(), "z", "y", "x"]),
        ],
        &about,
    )
}

fn mask(config: &NetConfig, weights: &Named) -> Vec<u8> {
    let mut graph = Builder::new(weights);
    let first = graph.unit("mask_features", "mask.first");
    let second = graph.unit(&first, "mask.second");
    let logits = graph.unit(&second, "mask.output");
    graph.node(OpType::Sigmoid, &[&logits], "mask", Vec::new());
    graph.encode(
        "mask_head",
        &[("mask_features", &["rois", &config.stem.to_string(), "z", "y", "x"])],
        &[("mask", &["rois", "1", "z", "y", "x"])],
        &[],
    )
}

/// A patch and what the network makes of it, by the names and in the shapes of the graphs' inputs
/// and outputs, to check whatever runs them; `roi` is the `RoI` of the mask features, `mask` its mask.
pub fn example(segmenter: &Segmenter) -> Named {
    const EDGE: usize = 32;
    const CROP: usize = 16;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    // Lung with a soft sphere in it, and noise.
    let ct = Array3::from_shape_fn((EDGE, EDGE, EDGE), |(z, y, x)| {
        let radius = [z, y, x].iter().map(|v| (*v as f64 - 15.0).powi(2)).sum::<f64>().sqrt();
        let tissue = if radius < 5.0 { 20.0 } else { -850.0 };
        (tissue + 60.0 * normal(&mut rng)) as i16
    });
    let features = segmenter.features(ct.view());
    let start = (EDGE - CROP) / 2;
    let mask = segmenter.mask_at(&features, [start; 3], [CROP; 3]);
    let [_, z, y, x, channels] = features.p0.dims();
    let detection = to_values(segmenter.detection(&features.p2));
    let first = features.p0.clone().swap_dims(3, 4).swap_dims(2, 3).swap_dims(1, 2);
    let roi = (2..5).fold(first.clone(), |roi, axis| roi.narrow(axis, start, CROP));
    let named = |values: Vec<f32>, shape: &[usize]| Values { shape: shape.to_vec(), values };
    Named::from([
        ("ct".into(), named(ct.iter().map(|hu| f32::from(*hu)).collect(), &[1, 1, z, y, x])),
        ("detection".into(), detection),
        ("mask_features".into(), named(to_values(first).values, &[1, channels, z, y, x])),
        ("roi".into(), named(to_values(roi).values, &[1, channels, CROP, CROP, CROP])),
        ("mask".into(), named(mask.into_iter().collect(), &[1, 1, CROP, CROP, CROP])),
    ])
}

/// An operation; its output has its name.
struct Operation {
    kind: OpType<'static>,
    inputs: Vec<String>,
    output: String,
    attributes: Vec<Attribute<'static>>,
}

/// A constant tensor.
enum Constant {
    Floats(Vec<i64>, Vec<f32>),
    Integers(Vec<i64>),
}

/// A graph in the making: each method adds operations and says what their result is called.
struct Builder<'a> {
    weights: &'a Named,
    operations: Vec<Operation>,
    constants: Vec<(String, Constant)>,
}

impl<'a> Builder<'a> {
    fn new(weights: &'a Named) -> Self {
        Self { weights, operations: Vec::new(), constants: Vec::new() }
    }

    fn node(
        &mut self,
        kind: OpType<'static>,
        inputs: &[&str],
        output: &str,
        attributes: Vec<Attribute<'static>>,
    ) -> String {
        let inputs = inputs.iter().map(|i| (*i).to_string()).collect();
        self.operations.push(Operation { kind, inputs, output: output.into(), attributes });
        output.into()
    }

    fn constant(&mut self, name: &str, constant: Constant) -> String {
        if self.constants.iter().all(|(there, _)| there != name) {
            self.constants.push((name.into(), constant));
        }
        name.into()
    }

    fn scalar(&mut self, name: &str, value: f32) -> String {
        self.constant(name, Constant::Floats(Vec::new(), vec![value]))
    }

    fn weight(&self, name: &str) -> &'a Values {
        self.weights.get(name).unwrap_or_else(|| panic!("the network has no weights {name}"))
    }

    /// A vector of weights under its own name.
    fn vector(&mut self, name: &str) -> String {
        let values = self.weight(name).values.clone();
        self.constant(name, Constant::Floats(vec![values.len() as i64], values))
    }

    /// HU to what the network sees, as [`crate::intensity::normalise`].
    fn intensities(&mut self, ct: &str) -> String {
        let [low, high] = WINDOW_HU;
        let low_hu = self.scalar("window.low", low.max(f32::from(PADDING_HU)));
        let high_hu = self.scalar("window.high", high);
        let clipped = self.node(OpType::Clip, &[ct, &low_hu, &high_hu], "clipped", Vec::new());
        let scale = self.scalar("window.scale", 2.0 / (high - low));
        let shift = self.scalar("window.shift", -2.0 * low / (high - low) - 1.0);
        let scaled = self.node(OpType::Mul, &[&clipped, &scale], "scaled", Vec::new());
        self.node(OpType::Add, &[&scaled, &shift], "image", Vec::new())
    }

    /// A convolution that keeps the size.
    fn convolve(&mut self, x: &str, name: &str) -> String {
        let values = self.weight(&format!("{name}.weight"));
        let weight = permuted(values, [4, 3, 0, 1, 2]);
        let kernel = values.shape[0] as i64;
        let weight = self.constant(&format!("{name}.weight"), weight);
        let mut inputs = vec![x.to_string(), weight];
        let bias = format!("{name}.bias");
        if self.weights.contains_key(&bias) {
            inputs.push(self.vector(&bias));
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let attributes =
            vec![integers("kernel_shape", &[kernel; 3]), integers("pads", &[kernel / 2; 6])];
        self.node(OpType::Conv, &inputs, &format!("{name}.out"), attributes)
    }

    /// Batch norm with the running statistics, and `ReLU`.
    fn activate(&mut self, x: &str, name: &str) -> String {
        let parameters = ["gamma", "beta", "running_mean", "running_variance"]
            .map(|part| self.vector(&format!("{name}.norm.{part}")));
        let [gamma, beta, mean, variance] = parameters.each_ref().map(String::as_str);
        let epsilon = Attribute {
            name: "epsilon",
            r#type: AttributeType::Float,
            f: NORM_EPSILON as f32,
            ..Default::default()
        };
        let normed = self.node(
            OpType::BatchNormalization,
            &[x, gamma, beta, mean, variance],
            &format!("{name}.normed"),
            vec![epsilon],
        );
        self.node(OpType::Relu, &[&normed], &format!("{name}.active"), Vec::new())
    }

    /// Norm, `ReLU`, convolution.
    fn unit(&mut self, x: &str, name: &str) -> String {
        let active = self.activate(x, name);
        self.convolve(&active, name)
    }

    fn dense(&mut self, x: &str, name: &str, layers: usize) -> String {
        let mut all = x.to_string();
        for layer in 0..layers {
            let name = format!("{name}.layers.{layer}");
            let new = self.unit(&all, &name);
            let axis = vec![integer("axis", 1)];
            all = self.node(OpType::Concat, &[&all, &new], &format!("{name}.all"), axis);
        }
        all
    }

    fn max_pool(&mut self, x: &str) -> String {
        let attributes = vec![integers("kernel_shape", &[2; 3]), integers("strides", &[2; 3])];
        self.node(OpType::MaxPool, &[x], &format!("{x}.pooled"), attributes)
    }

    /// Deconvolution to twice the size, added to a lateral map.
    fn up(&mut self, x: &str, onto: &str, name: &str) -> String {
        let active = self.activate(x, name);
        let weight = permuted(self.weight(&format!("{name}.weight")), [0, 4, 1, 2, 3]);
        let weight = self.constant(&format!("{name}.weight"), weight);
        let attributes = vec![integers("kernel_shape", &[2; 3]), integers("strides", &[2; 3])];
        let wide = format!("{name}.wide");
        let wide = self.node(OpType::ConvTranspose, &[&active, &weight], &wide, attributes);
        self.node(OpType::Add, &[&wide, onto], &format!("{name}.out"), Vec::new())
    }

    /// Channels last, and these split; a size of 0 is kept.
    fn rows(&mut self, x: &str, output: &str, shape: &[i64]) {
        let last = vec![integers("perm", &[0, 2, 3, 4, 1])];
        let last = self.node(OpType::Transpose, &[x], &format!("{output}.last"), last);
        let shape = self.constant(&format!("{output}.shape"), Constant::Integers(shape.to_vec()));
        self.node(OpType::Reshape, &[&last, &shape], output, Vec::new());
    }

    fn encode(
        &self,
        name: &str,
        inputs: &[Port],
        outputs: &[Port],
        about: &[(&str, String)],
    ) -> Vec<u8> {
        let graph = Graph {
            name,
            node: self
                .operations
                .iter()
                .map(|operation| Node {
                    name: &operation.output,
                    op_type: operation.kind.clone(),
                    input: operation.inputs.iter().map(String::as_str).collect(),
                    output: vec![&operation.output],
                    attribute: operation.attributes.clone(),
                    ..Default::default()
                })
                .collect(),
            initializer: self
                .constants
                .iter()
                .map(|(name, constant)| match constant {
                    Constant::Floats(shape, values) => {
                        TensorProto::from_f32(name, shape.clone(), values.clone())
                    }
                    Constant::Integers(values) => {
                        TensorProto::from_i64(name, vec![values.len() as i64], values.clone())
                    }
                })
                .collect(),
            input: inputs.iter().map(value_info).collect(),
            output: outputs.iter().map(value_info).collect(),
            ..Default::default()
        };
        onnx_rs::encode(&Model {
            ir_version: FORMAT,
            opset_import: vec![OperatorSetId { domain: "", version: OPERATOR_SET }],
            producer_name: "dasl",
            producer_version: env!("CARGO_PKG_VERSION"),
            graph: Some(graph),
            metadata_props: about
                .iter()
                .map(|(key, value)| StringStringEntry { key, value })
                .collect(),
            ..Default::default()
        })
    }
}

/// An input or output: its name, and of each dimension the size or a name.
type Port<'p> = (&'p str, &'p [&'p str]);

fn value_info<'p>((name, shape): &Port<'p>) -> ValueInfo<'p> {
    let dimension = |&size: &&'p str| TensorShapeDimension {
        value: size.parse().map_or(Dimension::Param(size), Dimension::Value),
        ..Default::default()
    };
    let shape = TensorShape { dim: shape.iter().map(dimension).collect() };
    let tensor = TensorTypeProto { elem_type: DataType::Float, shape: Some(shape) };
    let r#type = TypeProto { value: Some(TypeValue::Tensor(tensor)), ..Default::default() };
    ValueInfo { name, r#type: Some(r#type), ..Default::default() }
}

fn integers(name: &'static str, values: &[i64]) -> Attribute<'static> {
    Attribute { name, r#type: AttributeType::Ints, ints: values.to_vec(), ..Default::default() }
}

fn integer(name: &'static str, value: i64) -> Attribute<'static> {
    Attribute { name, r#type: AttributeType::Int, i: value, ..Default::default() }
}

/// A kernel with its axes in another order.
fn permuted(values: &Values, order: [usize; 5]) -> Constant {
    let array = ndarray::ArrayView::from_shape(values.shape.as_slice(), &values.values)
        .expect("a weight has as many values as its shape says")
        .permuted_axes(order.to_vec());
    let shape = array.shape().iter().map(|n| *n as i64).collect();
    Constant::Floats(shape, array.iter().copied().collect())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::config::{Config, Preset};
    use crate::model::NoduleRcnn;
    use crate::weights;

    #[test]
    fn a_graph_is_whole() {
        let config = Config::preset(Preset::Small).net;
        let named = weights::export(&NoduleRcnn::new(&config, 1, &Device::flex()));
        let Exported { network, mask } = export(&config, &named);
        let mut used = 0;
        for bytes in [&network, &mask] {
            let model = onnx_rs::parse(bytes).unwrap();
            let graph = model.graph.unwrap();
            // Every input of an operation is there before it.
            let mut known: Vec<&str> = graph.input.iter().map(|i| i.name).collect();
            known.extend(graph.initializer.iter().map(TensorProto::name));
            used += graph.initializer.iter().filter(|t| named.contains_key(t.name())).count();
            for node in &graph.node {
                for input in &node.input {
                    assert!(known.contains(input), "{}: {input}", node.name);
                }
                known.extend(&node.output);
            }
            for output in &graph.output {
                assert!(known.contains(&output.name), "{}", output.name);
            }
        }
        assert_eq!(used, named.len(), "every weight is in one of the graphs");
    }

    #[test]
    fn kernels_have_the_channels_first() {
        let values =
            Values { shape: vec![1, 1, 2, 3, 2], values: (0..12).map(|v| v as f32).collect() };
        let Constant::Floats(shape, got) = permuted(&values, [4, 3, 0, 1, 2]) else { panic!() };
        assert_eq!(shape, [2, 3, 1, 1, 2]);
        // [x, c_in, c_out] -> [c_out, c_in, x].
        assert_eq!(got, [0.0, 6.0, 2.0, 8.0, 4.0, 10.0, 1.0, 7.0, 3.0, 9.0, 5.0, 11.0]);
    }
}
