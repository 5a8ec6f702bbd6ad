"""States of jax programs: immutable arrays, random keys, compiled functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.state.cases import assert_exact, assert_refused, record

pytest.importorskip("jax")


def test_compiled_steps_keys_and_donated_arrays_go_on_bit_for_bit(tmp_path: Path) -> None:
    recorded = record(
        tmp_path,
        """
        from functools import partial
        import jax, jax.numpy as jnp, numpy as np, rig
        X = jnp.asarray(np.random.default_rng(0).normal(size=(32, 4)), jnp.float32)
        scale = 0.5
        def loss_fn(params, x, rng):
            kept = jax.random.bernoulli(rng, 0.8, x.shape)
            return jnp.mean((jnp.where(kept, x, 0) @ params["w"] * scale - params["b"]) ** 2)
        @partial(jax.jit, donate_argnums=0)
        def step(params, x, rng):
            loss, grads = jax.value_and_grad(loss_fn)(params, x, rng)
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), loss
        def main():
            key = jax.random.key(0)
            params = {"w": jnp.ones(4), "b": jnp.zeros(()), "half": jnp.ones(3, jnp.bfloat16)}
            first = alias = params["half"]
            weak = jnp.asarray(2.0)
            shape = jax.tree.structure(params)
            here = jax.device_put(jnp.arange(3), jax.devices()[0])
            for epoch in rig.loop("epoch", range(3)):
                key, sub = jax.random.split(key)
                for batch in jnp.split(X, 4):
                    sub, use = jax.random.split(sub)
                    params, loss = step({**params, "half": params["half"] + 1}, batch, use)
                rig.log("loss", loss)
                rig.log("params", jax.tree.map(lambda p: p.tolist(), params))
                weak = weak + 1
                here = here + epoch
                rig.log("kept", [first is alias, first.is_deleted(), weak.weak_type, str(params["half"].dtype)])
                rig.log("more", [str(shape), here.tolist(), str(here.devices()), (weak * jnp.ones(1, "float16")).dtype])
        main()
        """,
    )
    assert_exact(recorded)


def test_what_a_compiled_function_reads_may_not_change_in_the_loop(tmp_path: Path) -> None:
    recorded = record(
        tmp_path,
        """
        import jax, rig
        scale = 1.0
        def double(x):
            return x * scale
        @jax.jit
        def step(x):
            return double(x) + 1
        value = step(0.0)
        for epoch in rig.loop("epoch", range(3)):
            value = step(value)
            rig.log("value", value)
            scale = scale + 1.0
        """,
    )
    assert_refused(recorded, "reads the variable scale, which changed in the loop", "__main__.step")


def test_functions_with_derivatives_of_their_own_and_wrapped_ones(tmp_path: Path) -> None:
    """`jax.nn.relu` is an object, as are functions of the script under `custom_jvp`; nothing in them changes."""
    recorded = record(
        tmp_path,
        """
        import jax, jax.numpy as jnp, rig
        @jax.custom_jvp
        def soft(x):
            return jnp.log1p(jnp.exp(x))
        @soft.defjvp
        def soft_jvp(primals, tangents):
            (x,), (t,) = primals, tangents
            return soft(x), t * jax.nn.sigmoid(x)
        class Layer:
            def __init__(self, activation):
                self.activation = activation
                self.w = jnp.ones(3)
            def __call__(self, x):
                return self.activation(x * self.w).sum()
        def main():
            layers = [Layer(jax.nn.relu), Layer(soft), Layer(jax.nn.relu)]
            for epoch in rig.loop("epoch", range(3)):
                for layer in layers:
                    grad = jax.grad(layer)(jnp.arange(3.0) - 1)
                    layer.w = layer.w - 0.1 * grad
                if epoch == 1:
                    layers[0].activation = jax.nn.gelu
                rig.log("w", [layer.w.tolist() for layer in layers])
                rig.log("shared", layers[0].activation is layers[2].activation)
        main()
        """,
    )
    assert_exact(recorded)


def test_arrays_of_extension_dtypes_keep_them(tmp_path: Path) -> None:
    recorded = record(
        tmp_path,
        """
        import ml_dtypes, numpy as np, rig
        for epoch in rig.loop("epoch", range(2)):
            if epoch == 0:
                half = np.ones(3, ml_dtypes.bfloat16)
            half = half * 2
            rig.log("half", half.astype(float))
            rig.log("dtype", str(half.dtype))
        """,
    )
    assert_exact(recorded)
