"""Keras models made while a test runs."""

from needs import need

keras = need("keras")


def sequential(*layers, shape=(None, 4)):
    return keras.Sequential([keras.Input(shape), *layers])


def saved(model, how, folder):
    """What from_keras is given: the live model, or a path it was saved to."""
    if how == "live":
        return model
    model.save(folder / f"model.{how}")
    return folder / f"model.{how}"
