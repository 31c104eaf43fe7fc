//! Layers that own weights: convolution, norm + ReLU + convolution, dense block, deconvolution.

use burn::module::{Module, Param, RunningState};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::ops::{self, ChannelStats, DenseLayer, Scale};

/// Share of a new batch in the running statistics: small, since a batch is one or two patches.
const RUNNING_SHARE: f64 = 0.02;

/// Draws initial weights: one seed, the same network on every device.
pub struct Init<'a> {
    /// Source of all weights.
    pub rng: &'a mut ChaCha8Rng,
    /// Where the weights go.
    pub device: &'a Device,
}

impl Init<'_> {
    /// Normal weights with variance 2 / `fan_in` (He et al. 2015), for layers around `ReLUs`.
    fn he<const D: usize>(&mut self, shape: [usize; D], fan_in: usize) -> Param<Tensor<D>> {
        let deviation = (2.0 / fan_in as f64).sqrt();
        let values: Vec<f32> =
            (0..shape.iter().product()).map(|_| (deviation * normal(self.rng)) as f32).collect();
        Param::from_data(TensorData::new(values, shape), self.device)
    }

    fn constant(&self, value: f32, channels: usize) -> Param<Tensor<1>> {
        Param::from_data(TensorData::new(vec![value; channels], [channels]), self.device)
    }
}

/// A standard normal number (Box and Muller 1958).
pub fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let u: f64 = 1.0 - rng.random::<f64>();
    let v: f64 = rng.random();
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Convolution with kernel k^3 that keeps the size; it needs no bias, a norm follows it.
#[derive(Module, Debug)]
pub struct Conv {
    /// [k, k, k, `c_in`, `c_out`].
    weight: Param<Tensor<5>>,
}

impl Conv {
    /// A convolution with He weights.
    pub fn new(init: &mut Init, kernel: usize, c_in: usize, c_out: usize) -> Self {
        Self { weight: init.he([kernel, kernel, kernel, c_in, c_out], kernel.pow(3) * c_in) }
    }

    /// # Shapes
    /// [n, z, y, x, `c_in`] -> [n, z, y, x, `c_out`]
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        ops::conv3d(x, self.weight.val())
    }
}

/// Batch norm before a ReLU: scale, shift and the running statistics.
#[derive(Module, Debug)]
pub struct Norm {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
    running_mean: RunningState<Tensor<1>>,
    running_variance: RunningState<Tensor<1>>,
}

impl Norm {
    /// Scale 1, shift 0, running statistics of a standard normal.
    fn new(init: &Init, channels: usize) -> Self {
        Self {
            gamma: init.constant(1.0, channels),
            beta: init.constant(0.0, channels),
            running_mean: RunningState::new(Tensor::zeros([channels], init.device)),
            running_variance: RunningState::new(Tensor::ones([channels], init.device)),
        }
    }

    fn scale(&self) -> Scale {
        Scale { gamma: self.gamma.val(), beta: self.beta.val() }
    }

    fn running(&self) -> ChannelStats {
        let (mean, variance) = (self.running_mean.value(), self.running_variance.value());
        ChannelStats { mean, variance }
    }

    /// The batch's statistics enter the running ones.
    fn learn(&self, batch: ChannelStats) {
        let blend = |running: &RunningState<Tensor<1>>, new: Tensor<1>| {
            let old = running.value_sync();
            running.update((old * (1.0 - RUNNING_SHARE) + new * RUNNING_SHARE).detach());
        };
        blend(&self.running_mean, batch.mean);
        blend(&self.running_variance, batch.variance);
    }
}

/// Norm, ReLU, convolution: the unit of a dense network ("pre-activation"). On an autodiff
/// device the norm uses the batch's own statistics, elsewhere the running ones.
#[derive(Module, Debug)]
pub struct NormConv {
    norm: Norm,
    /// [k, k, k, `c_in`, `c_out`].
    weight: Param<Tensor<5>>,
    /// [`c_out`], only where no norm follows that would cancel it.
    bias: Option<Param<Tensor<1>>>,
}

impl NormConv {
    /// A unit with kernel k^3.
    pub fn new(init: &mut Init, kernel: usize, c_in: usize, c_out: usize) -> Self {
        let norm = Norm::new(init, c_in);
        let Conv { weight } = Conv::new(init, kernel, c_in, c_out);
        Self { norm, weight, bias: None }
    }

    /// A unit with kernel 1 that ends in outputs, one per value of `bias`.
    pub fn output(init: &mut Init, c_in: usize, bias: &[f32]) -> Self {
        let data = TensorData::new(bias.to_vec(), [bias.len()]);
        let bias_param = Param::from_data(data, init.device);
        Self { bias: Some(bias_param), ..Self::new(init, 1, c_in, bias.len()) }
    }

    /// # Shapes
    /// [n, z, y, x, `c_in`] -> [n, z, y, x, `c_out`]
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let out = if x.device().is_autodiff() {
            let (out, batch) = ops::norm_conv_train(x, self.norm.scale(), self.weight.val());
            self.norm.learn(batch);
            out
        } else {
            ops::norm_conv(x, self.norm.scale(), self.norm.running(), self.weight.val())
        };
        match &self.bias {
            Some(bias) => out + bias.val().unsqueeze(),
            None => out,
        }
    }
}

/// Layers of [norm, ReLU, conv 3^3], each of which sees all channels before it: a DenseBlock
/// (Huang et al. 2017; in 3D Yu et al. 2017, reference 9 of the paper).
#[derive(Module, Debug)]
pub struct DenseBlock {
    layers: Vec<NormConv>,
}

impl DenseBlock {
    /// `layers` layers that add `growth` channels each.
    pub fn new(init: &mut Init, c_in: usize, layers: usize, growth: usize) -> Self {
        let layers = (0..layers).map(|i| NormConv::new(init, 3, c_in + i * growth, growth));
        Self { layers: layers.collect() }
    }

    /// # Shapes
    /// [n, z, y, x, `c_in`] -> [n, z, y, x, `c_in` + layers * growth]
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let layer = |l: &NormConv| DenseLayer { scale: l.norm.scale(), weight: l.weight.val() };
        if !x.device().is_autodiff() {
            let layers = self.layers.iter().map(|l| (layer(l), l.norm.running()));
            return ops::dense(x, layers.collect());
        }
        let (out, batch) = ops::dense_train(x, self.layers.iter().map(layer).collect());
        for layer in &self.layers {
            let [reads] = layer.norm.gamma.dims();
            let first = |t: &Tensor<1>| t.clone().narrow(0, 0, reads);
            let (mean, variance) = (first(&batch.mean), first(&batch.variance));
            layer.norm.learn(ChannelStats { mean, variance });
        }
        out
    }
}

/// Norm, ReLU, deconvolution, which doubles the size; added to a lateral map. No bias: a norm
/// follows.
#[derive(Module, Debug)]
pub struct NormDeconv {
    norm: Norm,
    /// [`c_in`, 2, 2, 2, `c_out`].
    weight: Param<Tensor<5>>,
}

impl NormDeconv {
    /// A deconvolution with kernel 2 and stride 2.
    pub fn new(init: &mut Init, c_in: usize, c_out: usize) -> Self {
        Self { norm: Norm::new(init, c_in), weight: init.he([c_in, 2, 2, 2, c_out], c_in) }
    }

    /// # Shapes
    /// [n, z, y, x, `c_in`] and [n, 2z, 2y, 2x, `c_out`] -> [n, 2z, 2y, 2x, `c_out`]
    pub fn forward(&self, x: Tensor<5>, onto: Tensor<5>) -> Tensor<5> {
        let (scale, weight) = (self.norm.scale(), self.weight.val());
        if x.device().is_autodiff() {
            let (out, batch) = ops::norm_deconv_train(x, scale, weight, onto);
            self.norm.learn(batch);
            return out;
        }
        ops::norm_deconv(x, scale, self.norm.running(), weight, onto)
    }
}
