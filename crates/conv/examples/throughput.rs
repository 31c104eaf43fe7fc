//! Prints the throughput of the kernels on the network's shapes, and their share of the machine's
//! arithmetic peak, which is measured beside each: `cargo run --release -p dasl-conv --example
//! throughput [part of a name]`.

use std::hint::black_box;
use std::time::Instant;

use dasl_conv::{
    BatchNorm, Isa, ScaleShift, View, ViewMut, Write, channel_stats, conv3d, conv3d_input_gradient,
    conv3d_weight_gradient, deconv2, deconv2_input_gradient, deconv2_weight_gradient, max_pool2,
    max_pool2_gradient, norm_relu, norm_relu_gradient,
};

/// Best of several runs, in seconds: others may use the machine.
fn seconds(mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    for i in 0.. {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
        if i >= 4 && begin.elapsed().as_secs_f64() > 1.0 {
            break;
        }
    }
    best
}

fn main() {
    println!("{:?}, {} threads", Isa::best(), rayon::current_num_threads());
    let wanted = std::env::args().nth(1).unwrap_or_default();
    println!("{:30} {:>8} {:>22} {:>22} {:>22}", "GFLOP/s", "peak", "out", "dx", "dw");
    for (size, kernel, c_in, c_out) in [
        (128, 3, 1, 24),
        (128, 3, 24, 24),
        (64, 3, 24, 12),
        (64, 3, 36, 12),
        (64, 3, 60, 12),
        (64, 1, 72, 36),
        (64, 3, 32, 32),
        (32, 3, 72, 12),
        (32, 3, 64, 64),
        (16, 3, 78, 12),
        (32, 3, 24, 24),
        (64, 3, 8, 8),
        (32, 3, 14, 6),
        (32, 3, 12, 12),
    ] {
        convolution(&wanted, size, kernel, c_in, c_out);
    }
    for (size, c_in, c_out) in [(16, 90, 64), (32, 64, 32), (64, 32, 24)] {
        deconvolution(&wanted, size, c_in, c_out);
    }
    println!("{:30} GB/s", "");
    for (size, channels, stride) in
        [(128, 24, 24), (64, 24, 72), (64, 60, 72), (64, 36, 36), (32, 24, 24)]
    {
        memory(&wanted, size, channels, stride);
    }
}

fn convolution(wanted: &str, size: usize, kernel: usize, c_in: usize, c_out: usize) {
    let name = format!("conv {kernel}^3 {c_in}->{c_out} at {size}^3");
    if !name.contains(wanted) {
        return;
    }
    let (dims, voxels) = ([1, size, size, size], size.pow(3));
    let (mut x, mut grad) = (vec![0.5; voxels * c_in], vec![0.5; voxels * c_out]);
    let mut weight = vec![0.5; kernel.pow(3) * c_in * c_out];
    let peak = peak();
    let out = seconds(|| {
        let out = ViewMut::new(&mut grad, c_out);
        conv3d(View::new(&x, c_in), None, dims, &weight, kernel, None, out);
    });
    let dx = seconds(|| {
        let (grad, dx) = (View::new(&grad, c_out), ViewMut::new(&mut x, c_in));
        conv3d_input_gradient(grad, dims, &weight, kernel, Write::Set, dx);
    });
    let dw = seconds(|| {
        let (x, grad) = (View::new(&x, c_in), View::new(&grad, c_out));
        conv3d_weight_gradient(x, None, grad, dims, kernel, &mut weight);
    });
    print(&name, 2.0 * (voxels * kernel.pow(3) * c_in * c_out) as f64, peak, [out, dx, dw]);
}

fn deconvolution(wanted: &str, size: usize, c_in: usize, c_out: usize) {
    let name = format!("deconv {c_in}->{c_out} from {size}^3");
    if !name.contains(wanted) {
        return;
    }
    let (dims, voxels) = ([1, size, size, size], size.pow(3));
    let (mut x, mut grad) = (vec![0.5; voxels * c_in], vec![0.5; 8 * voxels * c_out]);
    let mut weight = vec![0.5; 8 * c_in * c_out];
    let peak = peak();
    let out = seconds(|| {
        deconv2(View::new(&x, c_in), None, dims, &weight, None, ViewMut::new(&mut grad, c_out));
    });
    let dx = seconds(|| {
        let (grad, dx) = (View::new(&grad, c_out), ViewMut::new(&mut x, c_in));
        deconv2_input_gradient(grad, dims, &weight, Write::Set, dx);
    });
    let dw = seconds(|| {
        let (x, grad) = (View::new(&x, c_in), View::new(&grad, c_out));
        deconv2_weight_gradient(x, None, grad, dims, &mut weight);
    });
    print(&name, 2.0 * (voxels * 8 * c_in * c_out) as f64, peak, [out, dx, dw]);
}

fn print(name: &str, operations: f64, peak: f64, seconds: [f64; 3]) {
    print!("{name:30} {:8.1}", peak / 1e9);
    for seconds in seconds {
        let rate = operations / seconds;
        let share = 100.0 * rate / peak;
        print!(" {:6.1} {share:3.0}% {:7.2} ms", rate / 1e9, seconds * 1e3);
    }
    println!();
}

fn memory(wanted: &str, size: usize, channels: usize, stride: usize) {
    let name = format!("memory {channels} of {stride} at {size}^3");
    if !name.contains(wanted) {
        return;
    }
    let voxels = size.pow(3);
    let x = vec![0.5; voxels * stride];
    let mut wide = vec![0.5; voxels * stride];
    let mut dense = vec![0.5; voxels * channels];
    let ones = vec![1.0; channels];
    let (mut dgamma, mut dbeta) = (ones.clone(), ones.clone());
    let scale_shift = ScaleShift { scale: &ones, shift: &ones };
    let norm = BatchNorm { mean: &ones, variance: &ones, gamma: &ones, beta: &ones, epsilon: 1e-5 };
    let x = View::part(&x, stride, 0, channels);
    let bytes = (4 * voxels * channels) as f64;
    let show = |what: &str, passes: f64, seconds: f64| {
        let rate = passes * bytes / seconds / 1e9;
        println!("{name:30} {what:20} {rate:6.1} {:7.2} ms", seconds * 1e3);
    };
    show("statistics", 1.0, seconds(|| _ = black_box(channel_stats(x))));
    show(
        "norm_relu",
        2.0,
        seconds(|| norm_relu(x, scale_shift, ViewMut::new(&mut dense, channels))),
    );
    show(
        "norm_relu_gradient +",
        6.0,
        seconds(|| {
            let (grad, dx) = (View::new(&dense, channels), &mut wide);
            let dx = ViewMut::part(dx, stride, 0, channels);
            norm_relu_gradient(x, grad, &norm, Write::Add, dx, &mut dgamma, &mut dbeta);
        }),
    );
    let (dims, coarse) = ([1, size, size, size], [1, size / 2, size / 2, size / 2]);
    let mut argmax = vec![0; voxels / 8 * channels];
    let mut out = vec![0.0; voxels / 8 * channels];
    let pool = || max_pool2(x, dims, ViewMut::new(&mut out, channels), &mut argmax);
    show("max_pool2", 1.125, seconds(pool));
    let out = View::new(&out, channels);
    show(
        "max_pool2_gradient +",
        2.125,
        seconds(|| {
            let dx = ViewMut::part(&mut wide, stride, 0, channels);
            max_pool2_gradient(out, &argmax, coarse, Write::Add, dx);
        }),
    );
}

/// Operations per second of all threads in a loop of independent multiply-adds.
fn peak() -> f64 {
    let rounds = 2_000_000;
    let best = seconds(|| _ = rayon::broadcast(|_| black_box(multiply_add(rounds))));
    let lanes = if Isa::best() == Isa::Avx512 { 16 } else { 8 };
    (rounds * 12 * lanes * 2 * rayon::current_num_threads()) as f64 / best
}

#[cfg(target_arch = "x86_64")]
fn multiply_add(rounds: usize) -> f32 {
    match Isa::best() {
        // SAFETY: this machine has the instruction set.
        Isa::Avx512 => unsafe { x86::multiply_add_512(rounds) },
        // SAFETY: this machine has the instruction set.
        Isa::Avx2 => unsafe { x86::multiply_add_256(rounds) },
        Isa::Portable => portable_multiply_add(rounds),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn multiply_add(rounds: usize) -> f32 {
    portable_multiply_add(rounds)
}

fn portable_multiply_add(rounds: usize) -> f32 {
    let mut sums = [[0.0_f32; 8]; 12];
    for _ in 0..rounds {
        let factor = black_box(1e-3);
        for sum in sums.iter_mut().flatten() {
            *sum += factor * factor;
        }
    }
    sums.into_iter().flatten().sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm256_cvtss_f32, _mm256_fmadd_ps, _mm256_set1_ps, _mm512_cvtss_f32, _mm512_fmadd_ps,
        _mm512_set1_ps,
    };
    use std::hint::black_box;

    #[target_feature(enable = "avx2,fma")]
    pub fn multiply_add_256(rounds: usize) -> f32 {
        let factor = _mm256_set1_ps(black_box(0.999));
        let mut sums = [_mm256_set1_ps(black_box(1.0)); 12];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, factor);
            }
        }
        sums.into_iter().map(|sum| _mm256_cvtss_f32(sum)).sum()
    }

    #[target_feature(enable = "avx512f")]
    pub fn multiply_add_512(rounds: usize) -> f32 {
        let factor = _mm512_set1_ps(black_box(0.999));
        let mut sums = [_mm512_set1_ps(black_box(1.0)); 12];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, factor, factor);
            }
        }
        sums.into_iter().map(|sum| _mm512_cvtss_f32(sum)).sum()
    }
}
