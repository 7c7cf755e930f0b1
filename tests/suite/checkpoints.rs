//! Checkpoints of other models and other frameworks.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::store::{ModuleSnapshot, PytorchStore, RecordError, SafetensorsStore};
use burn::tensor::{Device, Tensor};
use burn_center_loss::{CenterLoss, CenterLossConfig, ProxyNca, ProxyNcaConfig};

use crate::devices::{autodiff_devices, devices, values};
use crate::tensors::labels;

const ROWS: [[f64; 2]; 4] = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]];

#[derive(Module, Debug)]
struct WithLoss {
    net: Linear,
    center_loss: CenterLoss,
}

#[derive(Module, Debug)]
struct WithoutLoss {
    net: Linear,
}

fn assert_trains(loss: &CenterLoss, device: &Device) {
    assert_eq!(values(loss.centers()), ROWS.concat());
    loss.forward(Tensor::zeros([1, 2], device), labels(&[0], device));
    assert_ne!(values(loss.centers()), ROWS.concat());
}

#[test]
fn a_checkpoint_without_centers_and_a_model_without_the_loss() {
    let device = Device::flex().autodiff();
    let with = WithLoss {
        net: LinearConfig::new(3, 2).init(&device),
        center_loss: CenterLossConfig::new(4, 2).init(&device),
    };
    let without = WithoutLoss {
        net: LinearConfig::new(3, 2).init(&device),
    };
    let centers = values(with.center_loss.centers());
    let weight = values(without.net.weight.val());

    // Adding a center loss to a model whose checkpoint has none.
    let record = without.clone().into_record();
    let error = with.clone().try_load_record(record.clone()).unwrap_err();
    assert!(matches!(error, RecordError::Validation(_)), "{error}");
    let loaded = with.load_record(record.allow_partial(true));
    assert_eq!(values(loaded.net.weight.val()), weight);
    assert_eq!(values(loaded.center_loss.centers()), centers);

    // Deploying without it.
    let record = loaded.into_record();
    assert!(without.clone().try_load_record(record.clone()).is_err());
    let deployed = without.load_record(record.allow_unused(true));
    assert_eq!(values(deployed.net.weight.val()), weight);
}

/// A PyTorch model with a center loss has a parameter `centers`, and `ProxyAnchorLoss` and `ProxyNCALoss` of
/// pytorch-metric-learning 2 have a parameter `proxies`.
#[test]
fn centers_of_a_safetensors_checkpoint() {
    #[derive(Module, Debug)]
    struct Ported {
        centers: Param<Tensor<2>>,
        proxies: Param<Tensor<2>>,
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ported.safetensors");
    let device = Device::flex().autodiff();
    let ported = Ported {
        centers: Param::from_data(ROWS, &device),
        proxies: Param::from_data(ROWS.map(|row| row.map(|value| -value)), &device),
    };
    let mut store = SafetensorsStore::from_file(&path);
    ported.save_into(&mut store).unwrap();

    for device in autodiff_devices() {
        let mut loss = CenterLossConfig::new(4, 2).init(&device);
        let mut store = SafetensorsStore::from_file(&path).allow_partial(true);
        let result = loss.load_from(&mut store).unwrap();
        assert!(result.errors.is_empty(), "{result:?}");
        assert_trains(&loss, &device);

        let mut loss: ProxyNca = ProxyNcaConfig::new(4, 2).init(&device);
        let mut store = SafetensorsStore::from_file(&path)
            .with_key_remapping("^centers$", "others")
            .with_key_remapping("^proxies$", "centers")
            .allow_partial(true);
        let result = loss.load_from(&mut store).unwrap();
        assert!(result.errors.is_empty(), "{result:?}");
        assert_eq!(values(loss.centers())[..2], [-1.0, -2.0]);
    }
}

#[test]
fn a_safetensors_file_with_a_bad_center() {
    #[derive(Module, Debug)]
    struct Ported {
        centers: Param<Tensor<2>>,
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.safetensors");
    for device in devices() {
        let bad = [[1.0, 2.0], [f64::NAN, 4.0], [5.0, 6.0], [7.0, 8.0]];
        let centers = Param::from_data(bad, &device);
        let mut store = SafetensorsStore::from_file(&path).overwrite(true);
        Ported { centers }.save_into(&mut store).unwrap();
        let mut loss = CenterLossConfig::new(4, 2).init(&device);
        let mut store = SafetensorsStore::from_file(&path).allow_partial(true);
        loss.load_from(&mut store).unwrap();
        let batch = (Tensor::zeros([1, 2], &device), labels(&[1], &device));
        assert_eq!(
            loss.try_forward(batch).unwrap_err().to_string(),
            "centers[1][0] is NaN: every center must be finite"
        );
    }
}

#[test]
fn centers_of_a_pytorch_checkpoint() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/checkpoints/centers.pt");
    for device in autodiff_devices() {
        let mut loss = CenterLossConfig::new(4, 2).init(&device);
        let mut store = PytorchStore::from_file(path).allow_partial(true);
        let result = loss.load_from(&mut store).unwrap();
        assert!(result.errors.is_empty(), "{result:?}");
        assert_trains(&loss, &device);
    }
}
