use burn::tensor::{Device, Distribution, Tensor};
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
        "{name}: median {:.2} us  min {:.2}",
        v[v.len() / 2] * 1e6,
        v[0] * 1e6
    );
}
fn main() {
    more();
    let dev = Device::flex().autodiff();
    let x = Tensor::<2>::random([128, 2], Distribution::Default, &dev);
    bench("detach", 20000, || {
        std::hint::black_box(x.clone().detach().require_grad());
    });
    bench("mul_scalar", 20000, || {
        std::hint::black_box(x.clone().detach().require_grad().mul_scalar(2.0));
    });
    bench("sum backward", 20000, || {
        let x = x.clone().detach().require_grad();
        let g = x.clone().sum().backward();
        std::hint::black_box(x.grad(&g).unwrap());
    });
    bench("device", 20000, || {
        std::hint::black_box(x.device());
    });
    bench("clone inner", 20000, || {
        std::hint::black_box(x.clone().without_autodiff());
    });
    bench("from_data", 20000, || {
        std::hint::black_box(Tensor::<1>::from_data([1.0f32], &dev));
    });
}
#[allow(dead_code)]
pub fn more() {
    use burn::tensor::Int;
    use burn_center_loss::CenterLossConfig;
    let dev = Device::flex().autodiff();
    let plain = Device::flex();
    let loss = CenterLossConfig::new(10, 2).init(&dev);
    let x = Tensor::<2>::random([128, 2], Distribution::Default, &dev);
    let y = Tensor::<1, Int>::random([128], Distribution::Uniform(0.0, 10.0), &plain);
    let xp = x.clone().inner();
    let vl = burn::module::Module::valid(&loss);
    bench("evaluate plain", 20000, || {
        std::hint::black_box(vl.evaluate(xp.clone(), y.clone()));
    });
    bench("evaluate autodiff untracked", 20000, || {
        std::hint::black_box(loss.evaluate(x.clone(), y.clone()));
    });
    bench("evaluate autodiff tracked+bw", 20000, || {
        let x = x.clone().detach().require_grad();
        let g = loss.evaluate(x.clone(), y.clone()).backward();
        std::hint::black_box(x.grad(&g));
    });
    bench("measure", 20000, || {
        std::hint::black_box(loss.measure(xp.clone(), y.clone(), None).unwrap());
    });
    let (_, u) = loss.measure(xp.clone(), y.clone(), None).unwrap();
    bench("clone update", 20000, || {
        std::hint::black_box(u.clone());
    });
    bench("apply", 20000, || {
        loss.apply(u.clone()).unwrap();
    });
    bench("step", 20000, || {
        let x = x.clone().detach().require_grad();
        let g = loss.forward(x.clone(), y.clone()).backward();
        std::hint::black_box(x.grad(&g));
    });
}
