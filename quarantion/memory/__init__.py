"Texts and vectors to what is nearest, with a proof"
from quarantion import _room

__all__ = _room(__name__, codes='unit_rows new_axes best_code encode_rows', index='Index load_index',
                resonance='signature coherence', waves='WaveMemory recall', sections='sections_of', corpus='Corpus read_corpus', entities='graph_of',
                words='words_of Words fit_words', embed='LSA fit_lsa fuse', minilm='MiniLM', library='open_library', bm25='fit_bm25', retrieve='How Retriever open_retriever', trust='Trust ask_all',
               
                shells='Shells load_shells shell_radii local_density', blocks='open_store',
                loop='Loop Gate fit_gate judge_bar')
