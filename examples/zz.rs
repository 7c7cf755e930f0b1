use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_center_loss::{CenterLoss, CenterLossConfig};
use std::time::Instant;
fn bench<F: FnMut()>(name: &str, n: usize, mut f: F) {
    f();
    f();
    let mut v: Vec<f64> = (0..n)
        .map(|_| {
            let t = Instant::now();
            f();
            t.elapsed().as_secs_f64()
        })
        .collect();
    v.sort_by(|a, b| a.partial_cmp(b).unwrap());
    println!(
        "{name}: median {:.1} us  min {:.1}",
        v[v.len() / 2] * 1e6,
        v[0] * 1e6
    );
}
fn main() {
    let dev = Device::flex().autodiff();
    dev.seed(1);
    let only = std::env::args().nth(1);
    for (b, c, d) in [
        (128usize, 10usize, 2usize),
        (256, 1000, 128),
        (256, 100_000, 512),
        (4096, 1000, 512),
        (512, 100_000, 128),
        (512, 1_000_000, 128),
    ] {
        if only
            .as_ref()
            .is_some_and(|o| !format!("B{b} C{c} D{d}").contains(o.as_str()))
        {
            continue;
        }
        let loss: CenterLoss = CenterLossConfig::new(c, d).init(&dev);
        let x = Tensor::<2>::random([b, d], Distribution::Default, &dev);
        let y = Tensor::<1, Int>::random([b], Distribution::Uniform(0.0, c as f64), &dev);
        let n = if b * d > 100_000 { 300 } else { 2000 };
        if std::env::args().nth(2).is_none() {
            bench(&format!("evaluate B{b} C{c} D{d}"), n, || {
                std::hint::black_box(loss.evaluate(x.clone(), y.clone()));
            });
            bench(&format!("forward  B{b} C{c} D{d}"), n, || {
                std::hint::black_box(loss.forward(x.clone().detach().require_grad(), y.clone()));
            });
        }
        let n = if std::env::args().nth(2).is_some() {
            n * 100
        } else {
            n
        };
        bench(&format!("step     B{b} C{c} D{d}"), n, || {
            let x = x.clone().detach().require_grad();
            let l = loss.forward(x.clone(), y.clone());
            let g = l.backward();
            std::hint::black_box(x.grad(&g).unwrap());
        });
    }
}
