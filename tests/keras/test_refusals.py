"""Sound files that hold what rnnrt does not run: refused by name, with the way out."""

import pytest
from keras_records import (
    file,
    find,
    with_config,
    with_layer,
    with_model_config,
)

from rnnrt.errors import (
    UnsupportedModelError,
)
from rnnrt.importers.keras import reader as importer

CLASSIFIER = "text_classifier.keras"


@pytest.mark.parametrize(
    "name, layer, options, words",
    [
        (CLASSIFIER, "lstm", {"time_major": True}, r"'lstm' \(LSTM\): the option time_major=True"),
        (CLASSIFIER, "lstm", {"activation": "log_softmax"}, "activation='log_softmax'"),
        (CLASSIFIER, "lstm", {"peephole": True}, r"'lstm' \(LSTM\): the option peephole='True' is unknown"),
        (
            CLASSIFIER,
            "conv1d",
            {"data_format": "channels_first"},
            r"'conv1d' \(Conv1D\): the option data_format='channels_first'",
        ),
        (CLASSIFIER, "conv1d", {"padding": "reflect"}, "padding='reflect'"),
        (CLASSIFIER, "conv1d", {"activation": "sparsemax"}, "'sparsemax' is not supported.*softplus"),
        (CLASSIFIER, "conv1d", {"activation": "square"}, "'square' is not supported"),
        (CLASSIFIER, "conv1d", {"activation": "os.system"}, "'os.system' is not supported"),
        (CLASSIFIER, "conv1d", {"dtype": "int8_from_float32"}, "dtype='int8_from_float32'"),
        (CLASSIFIER, "dense", {"quantization_config": {"bits": 4}}, "quantization_config"),
        (CLASSIFIER, "dense", {"lora_rank": 4}, "lora_rank"),
        (CLASSIFIER, "max_pooling1d", {"padding": "causal"}, "padding='causal'"),
        (
            "pointwise.keras",
            "batch_True_True",
            {"axis": 1},
            r"\(BatchNormalization\): the option axis=\[1\].*last axis",
        ),
        ("pointwise.keras", "layer_True_True", {"axis": [0, 2]}, r"axis=\[0, 2\]"),
        ("pointwise.keras", "layer_True_False", {"rms_scaling": True}, "rms_scaling=True"),
        ("pointwise.keras", "soft", {"axis": [1, 2]}, r"'soft' \(Softmax\): the option axis=\[1, 2\]"),
        ("pointwise.keras", "merge_concatenate", {"axis": 0}, r"\(Concatenate\): the option axis=\[0\]"),
        ("pointwise.keras", "merge_concatenate", {"axis": 1}, "Give the model's input a fixed length"),
        ("forecaster.keras", "permute", {"dims": [3, 1, 2]}, "dims"),
        ("bidirectional.keras", "lstm_sum_all", {"merge_mode": "dot"}, "merge_mode='dot'"),
    ],
)
def test_an_option_that_changes_the_answer_is_refused_by_name(name, layer, options, words):
    with pytest.raises(UnsupportedModelError, match=words):
        importer.read(with_layer(name, layer, **options))


@pytest.mark.parametrize(
    "class_name",
    [
        "Lambda",
        "GroupQueryAttention",
        "GaussianBlur",
        "Conv3DTranspose",
        "ConvLSTM1D",
        "Discretization",
    ],
)
def test_a_layer_that_is_not_supported_is_named_with_the_supported_ones(class_name):
    def change(config):
        find(config, "spatial_dropout1d").update(class_name=class_name)

    with pytest.raises(
        UnsupportedModelError, match=rf"'spatial_dropout1d' \({class_name}\): .*{class_name}.*LSTM"
    ) as caught:
        importer.read(with_config(file(CLASSIFIER), change))
    assert "outputs=['embedding']" in str(caught.value) or "inputs=['spatial_dropout1d']" in str(caught.value)


def test_a_function_of_tensorflow_on_layers_outputs_is_named_with_the_layers_that_do_the_same():
    def change(config):
        find(config, "dropout").update(
            class_name="TFOpLambda", config={"name": "dropout", "function": "math.digamma"}
        )

    with pytest.raises(
        UnsupportedModelError,
        match=r"'dropout' \(TFOpLambda\): .*tf\.math\.digamma.*LSTM.*Multiply.*outputs=",
    ):
        importer.read(with_config(file(CLASSIFIER), change))


def test_all_unsupported_layers_are_named_and_the_largest_part_between_them():
    def change(config):
        find(config, "spatial_dropout1d").update(class_name="Lambda")
        find(config, "dropout").update(class_name="GroupQueryAttention")

    data = with_config(file(CLASSIFIER), change)
    with pytest.raises(
        UnsupportedModelError,
        match=r"'spatial_dropout1d' \(Lambda\), 'dropout' \(GroupQueryAttention\)"
        r".*inputs=\['spatial_dropout1d'\], outputs=\['lstm'\]",
    ):
        importer.read(data)
    importer.read(data, inputs=["spatial_dropout1d"], outputs=["lstm"])


def test_operations_and_arguments_that_are_not_supported_are_named():
    def divide(config):
        next(x for x in config["config"]["layers"] if x["module"].endswith("ops.numpy"))["class_name"] = (
            "Cross"
        )

    with pytest.raises(UnsupportedModelError, match=r"operation 'Cross' \(keras.ops\)"):
        importer.read(with_config(file("pointwise.keras"), divide))

    def train(config):
        find(config, "top")["inbound_nodes"][0]["kwargs"]["training"] = True

    with pytest.raises(UnsupportedModelError, match="'top'.*training=True"):
        importer.read(with_config(file("branches.keras"), train))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_advice_cuts_behind_a_front_whose_shapes_are_not_known(suffix):
    """A Reshape says itself what comes out of it."""

    def front(config):
        find(config, "permute").update(class_name="Conv3D")
        find(config, "permute_1").update(class_name="MaxPooling3D")

    change = with_config if suffix == ".keras" else with_model_config
    data = change(file(f"forecaster{suffix}"), front)
    with pytest.raises(
        UnsupportedModelError, match=r"'permute' \(Conv3D\).*inputs=\['(reshape|permute_1)'\]"
    ):
        importer.read(data)
    made = importer.read(data, inputs=["reshape"])
    assert made.signals["reshape"].length == 4 and made.signals["reshape"].features == (6,)


def test_a_stateful_layer_and_half_precision_are_read_and_said():
    made = importer.read(with_layer(CLASSIFIER, "lstm", stateful=True))
    assert "stateful=True" in made.metadata["assumptions"][0]
    made = importer.read(
        with_layer(
            CLASSIFIER, "dense", dtype={"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}
        )
    )
    assert "computed in float32, where Keras would use mixed_bfloat16" in made.metadata["assumptions"][0]


@pytest.mark.parametrize("spec", [3, b"{}"])
def test_a_spec_that_is_no_text_is_refused(spec):
    with pytest.raises(UnsupportedModelError, match="spec is not understood.*to_json"):
        importer.read(file("text_classifier.weights.h5"), spec)
