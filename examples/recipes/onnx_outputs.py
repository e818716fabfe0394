"""ONNX: tensors inside the graph become outputs, and onnxruntime computes them.

A file .onnx is a graph of named tensors. `add_outputs` lists the chosen ones as outputs; where a
layer has noise it also adds nodes that draw it and add it, as the exported graph does not contain
the noise of the training. Every run of the session draws fresh noise, starting from a seed: each
replica is one run. A network without noise has `sigma=0.0` in LAYERS; one replica is then
enough.

    python examples/recipes/onnx_outputs.py     # writes runs/onnx, prints I(X;T)
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import torch

from skinfo import NoisyMIEstimator, information_flow, open_run
from skinfo.datasets import make_szt
from skinfo.runs import Layer, RunWriter
from skinfo.szt import Trainer, make_mlp

#: In network order; a layer with noise before it is recorded in replicas.
LAYERS = [
    Layer("layer1", sigma=0.1),
    Layer("layer2", sigma=0.1, noise_before=True),
    Layer("layer3", sigma=0.1, noise_before=True),
]


def add_outputs(
    model: onnx.ModelProto,
    tensors: Mapping[str, str],
    sigmas: Mapping[str, float],
    random_state: int = 0,
) -> onnx.ModelProto:
    """Make the tensors of layers outputs of the graph, and add noise behind them."""
    changed = onnx.shape_inference.infer_shapes(model)
    graph, nodes = changed.graph, []
    described = {value.name: value for value in (*graph.value_info, *graph.output)}
    renamed: dict[str, str] = {}
    for node in model.graph.node:
        node = onnx.NodeProto.FromString(node.SerializeToString())
        node.input[:] = [renamed.get(name, name) for name in node.input]
        nodes.append(node)
        for layer, tensor in tensors.items():
            if tensor not in node.output:
                continue
            if all(tensor != value.name for value in graph.output):
                graph.output.append(described[tensor])
            if sigmas[layer]:
                noise, renamed[tensor] = f"{tensor}/noise", f"{tensor}/noisy"
                nodes += [
                    onnx.helper.make_node(
                        "RandomNormalLike", [tensor], [noise],
                        scale=sigmas[layer], seed=float(random_state + len(renamed)),
                    ),
                    onnx.helper.make_node("Add", [tensor, noise], [renamed[tensor]]),
                ]  # fmt: skip
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(changed)
    return changed


def record(
    model: onnx.ModelProto,
    X,
    layers: Sequence[Layer],
    tensors: Mapping[str, str],
    *,
    n_replicas: int = 1,
    random_state: int = 0,
) -> dict[str, np.ndarray]:
    """Outputs of layers before their noise: (n_inputs, n_units), or with replicas in between."""
    sigmas = {layer.name: layer.sigma for layer in layers}
    changed = add_outputs(model, tensors, sigmas, random_state)
    session = onnxruntime.InferenceSession(
        changed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    wanted = [tensors[layer.name] for layer in layers]
    replicas = [session.run(wanted, {name: X}) for _ in range(n_replicas)]
    return {
        layer.name: np.stack([replica[k] for replica in replicas], axis=1)
        if layer.noise_before
        else replicas[0][k]
        for k, layer in enumerate(layers)
    }


def tensors_after(model: onnx.ModelProto, operator: str, layers: Sequence[Layer]) -> dict[str, str]:
    """Names of the output tensors of an operator, in graph order, one per layer.

    The names depend on the exporter: `[node.output for node in model.graph.node]` lists them all.
    """
    names = [node.output[0] for node in model.graph.node if node.op_type == operator]
    return dict(zip((layer.name for layer in layers), names, strict=True))


def export(model: torch.nn.Module, path: Path, n_inputs: int = 12) -> onnx.ModelProto:
    """Your export here: from torch, one file per checkpoint, for any number of inputs."""
    batch = torch.export.Dim("n")
    torch.onnx.export(
        model.eval(), (torch.zeros(2, n_inputs),), path,
        dynamo=True, dynamic_shapes=({0: batch},), external_data=False, verbose=False,
    )  # fmt: skip
    model.train()
    return onnx.load(path)


def main(path="runs/onnx", checkpoints: Sequence[int] = (1, 16)) -> pd.DataFrame:
    """Train, export, record, measure, print."""
    X, y = make_szt()
    sigmas = {layer.name: layer.sigma for layer in LAYERS}
    model = make_mlp((12, 10, 7, 5, 2))
    trainer = Trainer(model, X, y, sigma=sigmas, learning_rate=5e-3)
    models = Path(f"{path}-models")
    models.mkdir(parents=True, exist_ok=True)
    writer = RunWriter(path, LAYERS, labels=y)
    for epoch in checkpoints:
        trainer.train_until(epoch)
        exported = export(model, models / f"epoch_{epoch}.onnx")
        tensors = tensors_after(exported, "Tanh", LAYERS)
        writer.add(epoch, record(exported, X.astype(np.float32), LAYERS, tensors, n_replicas=8))

    run = open_run(path)
    flow = information_flow(NoisyMIEstimator(sigma=None, tol=0.05, random_state=0), run)
    print("I(X;T) in nats, ceiling", np.log(len(X)).round(2))
    chosen = flow[flow["quantity"] == "mutual_info"]
    print(chosen.pivot(index="epoch", columns="layer", values="value").round(2).to_string())
    return flow


if __name__ == "__main__":
    main()
