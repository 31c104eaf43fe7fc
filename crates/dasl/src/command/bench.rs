//! `dasl bench`: how fast this machine runs the network.

use anyhow::{Result, bail};
use dasl_net::config::{Config, Preset};

use crate::Outcome;
use crate::args::BenchArgs;
use crate::bench::kernels::{self, KernelRate, MemoryRate};
use crate::bench::network::{self, NetworkTimes};
use crate::progress::bar;
use crate::table;

/// Runs the command.
///
/// # Errors
/// If the patch's edge is not a multiple of 16, or the export can't be written.
pub fn run(args: &BenchArgs, json: bool) -> Result<Outcome> {
    if args.patch == 0 || !args.patch.is_multiple_of(16) {
        bail!("--patch is {}: it must be a multiple of 16", args.patch);
    }
    let network = if args.kernels {
        None
    } else {
        let preset = Preset::from(args.preset);
        let name = format!("{preset:?}").to_lowercase();
        let config = Config::preset(preset);
        let device = args.device.open()?;
        let export = args.export.as_deref();
        Some(network::measure(&name, config, args.patch, &device, export)?)
    };
    if let Some(times) = network.as_ref().filter(|_| !json) {
        println!("{}\n", network_table(times));
    }
    let (mut arithmetic, mut memory) = (Vec::new(), Vec::new());
    if !args.network {
        let bar = bar("kernels", kernels::COUNT);
        arithmetic = kernels::arithmetic(|| bar.inc(1));
        memory = kernels::memory();
        bar.finish_and_clear();
        if !json {
            println!("{}\n\n{}", kernel_table(&arithmetic), memory_table(&memory));
        }
    }
    if json {
        let result = serde_json::json!({
            "network": network, "kernels": arithmetic, "memory": memory,
        });
        println!("{}", serde_json::to_string_pretty(&result)?);
    }
    Ok(Outcome::Done)
}

fn network_table(times: &NetworkTimes) -> String {
    let row = |what: &str, seconds: f64, gigabytes: Option<f64>| {
        vec![what.to_string(), format!("{seconds:.3}"), table::figure(gigabytes)]
    };
    let rows = [
        row("forward", times.forward, times.forward_gb),
        row("forward and backward", times.training, times.training_gb),
    ];
    let NetworkTimes { preset, edge, threads, .. } = times;
    let title = format!("{preset}, one {edge}^3 patch, {threads} threads");
    format!("{title}\n{}", table::render(&["pass", "seconds", "peak GB"], &rows))
}

fn kernel_table(rates: &[KernelRate]) -> String {
    let rows: Vec<Vec<String>> = rates
        .iter()
        .map(|k| {
            let rate = |i: usize| format!("{:.0} {:.0}%", k.rates[i], 100.0 * k.rates[i] / k.peak);
            vec![k.name.clone(), format!("{:.0}", k.peak), rate(0), rate(1), rate(2)]
        })
        .collect();
    let header = ["GFLOP/s, share of peak", "peak", "forward", "input grad.", "weight grad."];
    table::render(&header, &rows)
}

fn memory_table(rates: &[MemoryRate]) -> String {
    let rows: Vec<Vec<String>> =
        rates.iter().map(|m| vec![m.name.clone(), format!("{:.1}", m.rate)]).collect();
    table::render(&["pass over memory", "GB/s"], &rows)
}
